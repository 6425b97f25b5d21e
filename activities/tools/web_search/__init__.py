"""The engine of the built-in tool `web_search`: search backends, pages, and the text that the model gets of both.

The package has no activities, and imports neither Redis nor Temporal. `engine.py` is its interface.
"""
