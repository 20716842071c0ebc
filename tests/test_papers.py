"""The papers: links lead somewhere, references are those of the code, the README stays short."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.lab.reference import FOLDER, PAGES, page
from tests.sources import ROOT

PAPERS = [ROOT / name for name in subprocess.run(
    ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
).stdout.split()]  # fmt: skip


def anchors(text: str) -> set[str]:
    """The anchors that headings of a paper give."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: str(paper.relative_to(ROOT)))
def test_every_link_leads_somewhere(paper: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", paper.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (paper.parent / path).resolve() if path else paper
        assert file.exists(), f"{paper.name} links to {target}"
        assert not anchor or anchor in anchors(file.read_text()), f"{paper.name} links to {target}: there is no such heading"


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.stem)
def test_every_test_that_a_paper_names_exists(paper: Path) -> None:
    for file, name in re.findall(r"`(tests/\w+\.py)::(\w+)`", paper.read_text()):
        assert f"def {name}(" in (ROOT / file).read_text(), f"{paper.name} names {file}::{name}, which is none"


def test_the_readme_is_short_and_names_every_paper() -> None:
    text = (ROOT / "README.md").read_text()
    assert text.count("\n") <= 150
    for paper in PAPERS:
        name = paper.relative_to(ROOT).as_posix()
        assert name == "README.md" or name in text or paper.name == "DECISIONS.md", f"README.md does not lead to {name}"


@pytest.mark.parametrize("name", PAGES)
def test_references_are_those_of_the_code(name: str) -> None:
    assert (FOLDER / name).read_text() == page(name), "run `make docs` and commit"


def test_every_metric_of_the_dashboard_exists() -> None:
    known = page("metrics.md")
    for file in (ROOT / "dashboards").glob("*.json"):
        for metric in set(re.findall(r"\bolo_[a-z_]+", json.dumps(json.loads(file.read_text())))):
            assert re.sub(r"_(total|bucket|sum|count)$", "", metric) in known, (
                f"{file.name} shows {metric}, which nobody serves"
            )
