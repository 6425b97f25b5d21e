"""The adapters: one package for each vendor's API, and `shared` for the parts of several.

In each package, `adapter` has the class that the registry makes, `request` the body that is sent, `conversation` the
items in it, and `stream` turns the answer into deltas. `error_parsing` reads the vendor's error bodies;
`shared/error_mapping.py` decides which of our errors they are. Every other module has the name of its part.
"""
