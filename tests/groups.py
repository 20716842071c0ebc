"""Which tests one process plays, when several share a run: a file's, and those of files that look at what the others did. Each
process has its own platform, and what a file's tests share is made once.

xdist's own groups by mark are appended to a test's id, which pytest has kept elsewhere since 9.2: nothing is grouped by them.
"""

from pathlib import Path
from typing import Final

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# Those whose calls tests/test_whole_log.py looks at, and those that look at a small city.
TOGETHER: Final = {
    "test_video": "calls",
    "test_video_room": "calls",
    "test_whole_log": "calls",
    "test_browser_city": "city",
    "test_city": "city",
    "test_notebooks": "city",
}


def group_of(test: str) -> str:
    """The group of a test, by its id: the name of its file, or of the group of files that the file is in."""
    stem = Path(test.split("::", 1)[0]).stem
    return TOGETHER.get(stem, stem)


class InGroups(LoadScopeScheduling):
    """A group goes to one process whole."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> InGroups:
    """xdist asks for it, whatever `--dist` says."""
    return InGroups(config, log)
