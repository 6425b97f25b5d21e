"""The payloads that the API, the workflow and the activities exchange through Temporal.

Each item is in a history once: inputs in `StartResponse`, outputs in `SampleResult`. Inputs of activities have
references and new data, never the conversation, so that each model turn adds a constant amount to history.

The names of fields are data of running responses and stay. A new field has a default, so that older payloads are valid.
The names of classes and modules are not in the data.
"""
