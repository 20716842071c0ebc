"""Benchmarks: each prints its figures and their ratio to a peer, or to a limit, that was measured in the same run."""
