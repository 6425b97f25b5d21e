"""Uploaded files, vector stores and their indexes, in one folder that the API and the workers share."""
