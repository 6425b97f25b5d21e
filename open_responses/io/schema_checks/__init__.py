"""Validation of JSON Schemas and of answers, in processes of its own.

A schema of a few kilobytes can keep a validator busy for ever, and no timeout reaches code that holds the interpreter.
"""
