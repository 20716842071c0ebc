"""The laboratory: whatever tries the platform. Synthetic cities, proofs under crashes, simulations and benchmarks.

It imports everybody and nobody imports it; it is no part of the wheel. `python -m tests.lab.bench NAME` runs a benchmark;
`olo up --city 200` and `olo prove money` run from a checkout.
"""
