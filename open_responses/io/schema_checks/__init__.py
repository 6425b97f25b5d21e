"""Validation of JSON Schemas, and of answers against them, in separate processes.

A schema of a few kilobytes can occupy a validator for ever, and a timeout cannot interrupt code that holds the
interpreter.
"""
