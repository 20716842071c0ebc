"""The makers of clients: what counts as a warning; and the paper about clients, whose programs are those that CI runs."""

import json
import re

import pytest

from tests.lab.clients.makers import HERE, OPENAPI_GENERATOR, make, warnings_in
from tests.lab.clients.makers import MakerError as Failed
from tests.sources import ROOT

PAPER = (ROOT / "docs" / "clients.md").read_text()
BETA = "[main] WARN  o.o.codegen.DefaultCodegen - OpenAPI 3.1 support is still in beta."


@pytest.mark.parametrize(
    ("said", "warnings"),
    [
        ("", []),
        ("[main] INFO  o.o.codegen.DefaultGenerator - Generating with dryRun=false\nGenerating olo_client", []),
        ("[main] INFO  o.o.codegen.TemplateManager - writing file /made/dart/lib/model/problem_body.dart", []),
        ("[main] INFO  o.o.codegen.TemplateManager - writing file /made/swift6/Sources/OpenAPIClient/Errors.swift", []),
        (BETA, [BETA]),
        ("Warning(s) encountered while generating.", ["Warning(s) encountered while generating."]),
        ("Skipping Integration", ["Skipping Integration"]),
        (
            "[main] WARN  o.o.codegen.utils.ExamplesUtils - No application/json content media type found in response. "
            "Response examples can currently only be generated for application/json media type.",
            [],
        ),
    ],
)
def test_a_warning_is_found_among_what_a_generator_says(said: str, warnings: list[str]) -> None:
    assert warnings_in(said) == warnings


@pytest.mark.parametrize("command", ["exit 3", "echo 'WARNING: a name is reserved' >&2"])
def test_a_generator_that_fails_or_warns_has_not_made_a_client(command: str) -> None:
    with pytest.raises(Failed):
        make(["sh", "-c", command], HERE)


@pytest.mark.parametrize("file", ["phone.ts", "phone.py"])
def test_the_paper_shows_the_programs_that_run(file: str) -> None:
    kind = {"ts": "ts", "py": "python"}[file.rpartition(".")[2]]
    shown = re.findall(rf"```{kind}\n(.*?)```", PAPER, re.DOTALL)
    assert shown == [(HERE / file).read_text()], f"docs/clients.md shows another {file}"


def test_the_paper_names_the_versions_that_are_used() -> None:
    packages = json.loads((HERE / "package.json").read_text())
    wanted = packages["dependencies"] | packages["devDependencies"]
    for name, version in re.findall(r"([a-z-]+)@([0-9.]+)", PAPER):
        assert wanted[name] == version
    locked = (HERE / "requirements.txt").read_text().splitlines()
    assert all(f"{name}=={version}" in locked for name, version in re.findall(r"([a-z-]+)==([0-9.]+)", PAPER))
    assert OPENAPI_GENERATOR.rpartition(":")[2] in PAPER
