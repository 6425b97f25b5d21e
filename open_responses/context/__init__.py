"""The context of a model: its transcript, truncation, compaction and token counts."""
