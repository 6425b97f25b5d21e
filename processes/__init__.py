"""The processes with a worker: alone (`worker_alone.py`), or beside the API (`serve.py`)."""
