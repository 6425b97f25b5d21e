"""Runs Python code that a model has written, in interpreter processes of its own (`pydantic-monty`).

`sandbox.py` has the processes and the limits, `code.py` runs one call of the code interpreter, `programs.py` a program
that calls tools, from one call to the next.
"""
