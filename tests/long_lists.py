"""Histories as long as they claim to be: Hypothesis's own lists of at most 60 have some six elements on average."""

from typing import TypeVar

from hypothesis import strategies as st

Step = TypeVar("Step")


def long_lists(step: st.SearchStrategy[Step], most: int) -> st.SearchStrategy[list[Step]]:
    """Lists of steps, of every length up to `most`: as many short ones, which shrink well, as ones of more than half of it."""
    return st.lists(step, max_size=most) | st.lists(step, min_size=most // 2, max_size=most)
