"""The tables of the configuration file that have a module of their own.

`open_responses/config.py` has the file as a whole.
"""
