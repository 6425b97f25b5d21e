"""The engine of the tool `file_search`."""
