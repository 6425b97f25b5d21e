"""The tables of the configuration file. `open_responses/config.py` has the file as a whole."""
