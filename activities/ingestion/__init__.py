"""The activities that ingest files into vector stores."""
