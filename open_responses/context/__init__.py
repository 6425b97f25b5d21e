"""What the model reads: transcript, truncation, compaction, token counts."""
