"""The processes: each module is one, started with `python -m`."""
