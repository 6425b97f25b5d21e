"""The catalog and the indexes of vector stores in PostgreSQL with pgvector, instead of SQLite in the files folder.

The driver, psycopg, is imported with `connections.py`, which only a configured `database` causes.
"""
