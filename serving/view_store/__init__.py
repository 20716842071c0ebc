"""The views' store: what serving knows of all entities, on disk; one process of a machine writes it, serving reads it.

`store.py` is the store itself (LMDB), `folder.py` says which one is good, `changes.py` what the log's records change in it,
`indexes.py` what can be asked beyond keys, `keeper.py` is the process that writes (`python -m serving.view_store`).
"""
