"""The parts with I/O: Redis, Temporal, files, processes, the environment. The other packages do none."""
