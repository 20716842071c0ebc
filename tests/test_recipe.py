"""The domain of docs/recipe.md is whole as it stands there, and with a part taken out it is told what to write."""

import ast
import json
import re
import sys
from collections.abc import Mapping
from pathlib import PurePath
from types import ModuleType
from typing import Any, Protocol

import pytest

from infra.clickhouse import connect, migrate
from pipelines.flows.deciders import faults
from schemas.log.codec import decoder_of, encode
from schemas.log.topics import hears
from schemas.tables import TOPIC
from serving.runtime.refusals import RefusalTables
from tests.conftest import Stack
from tests.sources import ROOT
from tests.whole import made, ungolden, unkeyed, unmade, unpaired, unsaid, unstored, untested, unworded

# File -> text, of all the page's blocks.
PAGE = dict(re.findall(r"^`(\S+)`:\n\n```\w+\n(.*?)^```$", (ROOT / "docs" / "recipe.md").read_text(), re.MULTILINE | re.DOTALL))
SCHEMA, DECIDER, ROUTER, GOLDEN = "schemas/job.py", "pipelines/job.py", "serving/job.py", "tests/golden/job.jsonl"
TABLE, SELECT = "schemas/tables/jobs.sql", "schemas/tables/jobs.select.sql"


Files = Mapping[str, str]


class Load(Protocol):
    """Makes modules of files, as the fixture `load` does; what is in them only their text tells."""

    def __call__(self, files: Files, *paths: str) -> list[Any]: ...


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Makes modules of files, as if they stood in the tree."""

    def modules(files: Files, *paths: str) -> list[Any]:
        found: list[Any] = []
        for path in paths:
            module = ModuleType(path.removesuffix(".py").replace("/", "."))
            monkeypatch.setitem(sys.modules, module.__name__, module)
            exec(compile(files[path], f"<{path} of docs/recipe.md>", "exec"), vars(module))
            found.append(module)
        return found

    return modules


def golden(files: Files) -> list[dict[str, Any]]:
    return [json.loads(line) for line in files[GOLDEN].splitlines()]


def lacks(files: Files, load: Load) -> list[str]:
    """All that tests/test_map.py and tests/test_refusals.py would say of the domain in these files."""
    domain, decider, router = load(files, SCHEMA, DECIDER, ROUTER)
    schema, *code = (ast.parse(files[path]) for path in (SCHEMA, DECIDER, ROUTER))
    assert schema
    return [
        *faults(domain.JOB, decider.decide_job),
        *unmade(domain.JOB, made(code), made(code[:1])),
        *unkeyed(domain.JOB),
        *unsaid(domain.JOB),
        *ungolden(domain.JOB, "job", {line["type"] for line in golden(files)}),
        *unstored(domain.JOB, TOPIC.findall(files.get(SELECT, ""))),
        *unpaired([PurePath(path).name for path in files if path.endswith(".sql")]),
        *unworded([domain.JobRefusal], RefusalTables([getattr(router, "REFUSED", {})]).rows, ()),
        *untested([domain.JobRefusal], files["tests/test_job.py"]),
    ]


def test_the_page_has_a_whole_domain(load: Load) -> None:
    assert lacks(PAGE, load) == []
    assert PAGE.keys() == {SCHEMA, DECIDER, ROUTER, TABLE, SELECT, GOLDEN, "tests/test_job.py"}


def test_its_golden_lines_are_messages_that_its_decider_takes(load: Load) -> None:
    domain, decider = load(PAGE, SCHEMA, DECIDER)
    types = {type_.__name__: type_ for type_ in (*domain.JOB.commands, *domain.JOB.facts)}
    for line in golden(PAGE):
        message = decoder_of((types[line["type"]],))(json.dumps(line).encode())
        assert json.loads(encode(message)) == line
        if type(message) in hears(domain.JOB):
            assert decider.decide_job(None, message)


def test_its_tests_pass(load: Load) -> None:
    *_, tests = load(PAGE, SCHEMA, DECIDER, "tests/test_job.py")
    found = [test for name, test in vars(tests).items() if name.startswith("test_")]
    assert len(found) == 2
    for test in found:
        test()


def test_its_table_is_filled_with_its_facts(stack: Stack) -> None:
    connect(stack.clickhouse).command("CREATE DATABASE IF NOT EXISTS recipe")
    migrate(f"{stack.clickhouse}/recipe")
    client = connect(f"{stack.clickhouse}/recipe")
    client.command(PAGE[TABLE])
    rows = [["job.events", 0, offset, b"c1", json.dumps(line)] for offset, line in enumerate(golden(PAGE))]
    client.insert("log", rows, ["topic", "partition", "offset", "key", "value"])
    found = client.query(PAGE[SELECT])
    assert list(found.column_names) == [row[0] for row in client.query("DESCRIBE TABLE jobs").result_rows]
    (row,) = [dict(zip(found.column_names, row, strict=True)) for row in found.result_rows]
    (fact,) = [line for line in golden(PAGE) if line["type"] == "JobOver"]
    assert {name: row[name] for name in ("call", "user", "done")} == {name: fact[name] for name in ("call", "user", "done")}


# --- with a part taken out ---------------------------------------------------------------------------------------------------

JOB = "pipelines.job.decide_job"
OUT = [
    (SCHEMA, r"    hears=\(.*\n", f"{JOB} takes CallEnded, which job.inbox never hears: add it to the entity's `hears`, or"),
    (
        SCHEMA,
        r", DropJob\),\n",
        f"{JOB} takes DropJob, which job.inbox never hears: add it to the entity's `commands`, or",
        "),",
    ),
    (SCHEMA, r"CallEnded \| Wake", f"{JOB} does not take CallEnded, which job.inbox hears: decide it, and add it to", "Wake"),
    (SCHEMA, r"DropJob \| CallEnded", f"{JOB} does not take DropJob, which job.inbox hears: decide it, and", "CallEnded"),
    (SCHEMA, r'CallEnded, "call"', "CallEnded has no field 'job', by which job is to find it: name one", 'CallEnded, "job"'),
    (SCHEMA, r'key="call"', "PutJob has no field 'id_', by which job is to find it: name one that it has", 'key="id_"'),
    (
        DECIDER,
        r"job: Job \| None, message: JobInbox",
        f"{JOB} has a parameter without a type hint: Job | None, and",
        "job, message",
    ),
    (
        DECIDER,
        r"Job \| None, message: JobI",
        f"{JOB} takes another state: hint it as Job | None",
        "JobPut | None, message: JobI",
    ),
    (
        DECIDER,
        r"JobPut\(\*\*",
        "no decider makes the fact JobPut: tell it in pipelines, by JobPut(**reply(message), ...)",
        "dict(**",
    ),
    (SCHEMA, r", WORDS\]", "say of PutJob.task whether it is personal: add PLAIN, WORDS or another word of", "]"),
    (ROUTER, r"@router\.delete(.*\n)+?\n\n", "nobody makes the command DropJob: write the route that asks it in serving, or"),
    (ROUTER, r"    JobRefusal\.OWN_JOB.*\n", "no words for JobRefusal.OWN_JOB: add it to REFUSED in serving/job.py, with"),
    (ROUTER, r"REFUSED: ", "no words for JobRefusal.JOB_OPEN: add it to REFUSED in serving/job.py, with its", "DENIED: "),
    (GOLDEN, r'\{"type":"DropJob".*\n', "add a line of DropJob to tests/golden/job.jsonl"),
    (GOLDEN, r'\{"type":"JobOver".*\n', "add a line of JobOver to tests/golden/job.jsonl"),
    ("tests/test_job.py", r"JobRefusal\.NO_JOB", "no test has JobRefusal.NO_JOB: add a row to tests/test_job.py"),
    (TABLE, "", "jobs.select.sql fills a table that no file makes: write schemas/tables/jobs.sql"),
    (SELECT, "", "jobs.sql makes a table that no file fills: write schemas/tables/jobs.select.sql"),
    (
        SELECT,
        "",
        "no file in schemas/tables selects from job.events: write <table>.sql and <table>.select.sql, or say in job's",
    ),
]


@pytest.mark.parametrize(("path", "part", "line", "instead"), [(*row, "")[:4] for row in OUT], ids=[row[2] for row in OUT])
def test_what_is_taken_out_is_named(load: Load, path: str, part: str, line: str, instead: str) -> None:
    without = {name: text for name, text in PAGE.items() if part or name != path}
    if part:
        without[path], count = re.subn(part, instead, PAGE[path], count=1)
        assert count == 1
    told = lacks(without, load)
    assert any(one.startswith(line) for one in told), told
