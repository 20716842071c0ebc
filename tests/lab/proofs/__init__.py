"""Proofs: what must hold of the money, worked out a second time and checked on a real platform under fire."""
