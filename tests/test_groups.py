"""Which tests one process plays: by file, and files that look at what others did with those others."""

from pathlib import Path

from tests.groups import TOGETHER, group_of


def test_a_files_tests_are_one_group_and_some_files_share_theirs() -> None:
    assert group_of("tests/test_lock.py::test_a") == group_of("tests/test_lock.py::test_b[x::y/z.py]") == "test_lock"
    assert group_of("tests/test_video.py::test_a") == group_of("tests/test_whole_log.py::test_b") == "calls"


def test_the_files_that_stay_together_are_there() -> None:
    assert [name for name in TOGETHER if not (Path(__file__).parent / f"{name}.py").is_file()] == []
