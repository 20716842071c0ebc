"""The references in docs/reference, made from the code: `make docs`. tests/test_papers.py says so when they are out of date."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Final

import typer
from fastapi.routing import APIRoute
from prometheus_client import REGISTRY

import serving
import serving.runtime
import serving.view_store
from infra.cli import app as olo
from infra.config import Config
from pipelines.flows import dispatch, host, store
from schemas.log.personal import Personal, personal_of
from schemas.log.sizes import AIM, LARGEST, sizes_of
from schemas.log.topics import DOMAINS, ENTITIES, SUBSCRIPTIONS, entities_of, topics
from schemas.mission_control_roles import MEANING, PERMISSIONS, Permission
from schemas.tables import PROJECTIONS, TABLES, VIEWS, ddl, view
from schemas.user import Role
from serving.parts import parts
from serving.runtime.staff import gates_of
from tests.sources import ROOT, files, nodes_of

FOLDER: Final = ROOT / "docs" / "reference"
NOTE: Final = "Made from the code by `make docs`; do not edit."
PROBLEMS: Final = {"Problem": 1, "unavailable": 0}
STATES: Final = {entity.name: entity.state.__name__ for entity in ENTITIES}
PROCESSES: Final = (host, dispatch, store)


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown."""
    lines = [list(head), ["---"] * len(list(head)), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    return " ".join(str(value).replace("|", "\\|").split())


def topics_page() -> str:
    """Every topic, and every subscription with its reason."""
    all_topics = table(
        ("topic", "key", "kept", "carries"),
        ((f"`{t.name}`", t.key, t.kept, ", ".join(one.__name__ for one in t.messages)) for t in topics()),
    )
    why = table(("topic", "hears", "why"), ((f"`{s.topic}`", s.fact.__name__, s.why) for s in SUBSCRIPTIONS))
    flows = table(
        ("entity", "keyed by", "flow", "declared in"),
        (
            (e.name, e.key, e.flow, f"`{domain.__name__.replace('.', '/')}.py`")
            for domain in DOMAINS
            for e in entities_of(domain)
        ),
    )
    return f"# Topics\n\n{NOTE}\n\n## Entities\n\n{flows}\n\n## Topics\n\n{all_topics}\n\n## Subscriptions\n\n{why}\n"


def states_page() -> str:
    """How large the state of each entity can become."""
    sizes = sizes_of(tuple((entity.name, entity.state) for entity in ENTITIES))
    rows = table(("entity", "state", "bytes at most"), ((f"`{name}`", STATES[name], f"{size.bytes:,}") for name, size in sizes))
    why = (
        f"The worst case, from the types: every text as long as it may be and full of control characters, every list full. "
        f"The aim is {AIM:,} bytes, and none exceeds {LARGEST:,} (`schemas/log/sizes.py`). Real ones have some hundred."
    )
    return f"# States\n\n{NOTE}\n\n{why}\n\n{rows}\n"


def personal_page() -> str:
    """Every text that is about a person, with its kind: what a record or a state has to lose to be nobody's."""
    kinds = table(("kind", "what it is"), ((f"`{kind}`", kind.meaning) for kind in Personal if kind is not Personal.NO))
    carried: dict[Any, list[str]] = {}
    for topic in topics():
        for type_ in topic.messages:
            carried.setdefault(type_, []).append(f"`{topic.name}`")
    rows = (
        (type_.__name__, ", ".join(where), f"`{leaf.path}`", leaf.personal)
        for type_, where in carried.items()
        for leaf in personal_of(type_)
    )
    why = (
        "A `.state` topic is the changelog of an entity: its states hold these texts until they change. All else of all types "
        "is declared not to be personal (`schemas/log/personal.py`). In the warehouse, in log lines and on terminals these "
        "texts are empty."
    )
    return f"# What is personal\n\n{NOTE}\n\n{why}\n\n{kinds}\n\n{table(('type', 'in', 'text', 'kind'), rows)}\n"


def tables_page() -> str:
    """Tables and views, with what their files say of them."""
    filled = {one.table: "`, `".join(one.topics) for one in PROJECTIONS}
    sections = [f"# Tables and views\n\n{NOTE} Ask tables with FINAL; the views do that for you.\n"]
    for name in TABLES:
        source = f"Filled from `{filled[name]}`. " if name in filled else ""
        columns = re.findall(r"^    (\w+)\s+([A-Z]\w+(?:\([^\n]*?\))?)", ddl(name), re.MULTILINE)
        rows = table(("column", "type"), ((f"`{column}`", f"`{type_}`") for column, type_ in columns))
        sections.append(f"## {name}\n\n{source}{_comment(ddl(name))}\n\n{rows}\n")
    sections.append(
        "# Views\n\n" + table(("view", "what it tells"), ((f"`{name}`", _comment(view(name))) for name in sorted(VIEWS)))
    )
    return "\n".join(sections) + "\n"


def _comment(sql: str) -> str:
    lines = [line.removeprefix("-- ") for line in re.findall(r"^-- .*$|(?<=AS )-- .*$", sql, re.MULTILINE)]
    return " ".join(line for line in lines if not line.startswith("rows_each"))


def metrics_page() -> str:
    """Every metric that some process serves under /metrics."""
    found = sorted((m for m in REGISTRY.collect() if m.name.startswith("olo_")), key=lambda metric: metric.name)
    rows = ((f"`{m.name}`", m.type, m.documentation) for m in found)
    return f"# Metrics\n\n{NOTE} Counters end with `_total`.\n\n{table(('metric', 'kind', 'meaning'), rows)}\n"


def settings_page() -> str:
    """Every setting, with its default."""
    rows = [
        (f"`OLO_{name.upper()}`", f"`{_plain(field.default)}`" if field.default != "" else "", _meaning(name, field))
        for name, field in Config.model_fields.items()
    ]
    return (
        f"# Settings\n\n{NOTE} In lower case and without the prefix they can stand in `olo.toml`; the environment wins.\n\n"
        f"{table(('setting', 'default', 'meaning'), rows)}\n"
    )


def _plain(value: Any) -> Any:
    return getattr(value, "value", value)


def _meaning(name: str, field: Any) -> str:
    return (field.description or name.replace("_", " ")) + ("" if field.repr else " (a secret)")


def errors_page() -> str:
    """Every code of a problem: what a route raises by itself, and what a refusal is told as."""
    rows = {(code, status, text) for code, status, text in _raised()}
    for part in parts():
        rows |= {(str(refusal), row[0], row[1]) for refusal, row in part.refused.items()}
    lines = ((f"`{code}`", status, text) for code, status, text in sorted(rows, key=lambda row: (row[0], str(row[1]), row[2])))
    return f"# Errors\n\n{NOTE} Errors are RFC 9457 problem+json.\n\n{table(('code', 'status', 'detail'), lines)}\n"


def _raised() -> Iterator[tuple[str, object, str]]:
    for file in files("serving"):
        for node in nodes_of(file):
            name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            if isinstance(node, ast.Call) and name in PROBLEMS and len(node.args) >= PROBLEMS[name] + 2:
                status = ast.literal_eval(node.args[0]) if name == "Problem" and isinstance(node.args[0], ast.Constant) else 503
                code, detail = node.args[PROBLEMS[name]], node.args[PROBLEMS[name] + 1]
                if isinstance(code, ast.Constant) and (name != "Problem" or isinstance(node.args[0], ast.Constant)):
                    yield str(code.value), status, _text(detail)


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values)
    return ""


def commands_page() -> str:
    """The command line."""
    command = typer.main.get_command(olo)
    rows = ((f"`olo {path}`", one.get_short_help_str(limit=200)) for path, one in _commands(command, ""))
    return f"# Commands\n\n{NOTE} `olo COMMAND --help` tells the options.\n\n{table(('command', 'what it does'), rows)}\n"


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name in sorted(inner):
        yield from _commands(inner[name], f"{path} {name}".strip())


def permissions_page() -> str:
    """Which role may do what, and which operation of the API's document takes which permission."""
    roles = [role for role in Role if PERMISSIONS[role]]
    rows = ((f"`{one}`", MEANING[one], *("yes" if one in PERMISSIONS[role] else "" for role in roles)) for one in Permission)
    gates = sorted(
        (f"`{method} {route.path}`", f"`{gate.permission}`", "asked for" if gate.reasoned else "")
        for part in parts()
        for route in part.router.routes
        if isinstance(route, APIRoute)
        for gate in gates_of(route.dependant)
        for method in route.methods or ()
    )
    matrix = table(("permission", "for", *roles), rows)
    return f"# Permissions\n\n{NOTE}\n\n{matrix}\n\n{table(('route', 'permission', 'reason in the header'), gates)}\n"


PAGES: Final = {
    "topics.md": topics_page, "states.md": states_page, "tables.md": tables_page, "personal.md": personal_page,
    "metrics.md": metrics_page,
    "settings.md": settings_page, "errors.md": errors_page, "commands.md": commands_page,
    "permissions.md": permissions_page,
}  # fmt: skip


@cache
def page(name: str) -> str:
    """The text of a page."""
    for package in (serving, serving.runtime, serving.view_store):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    return PAGES[name]()


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file_name in PAGES:
        (FOLDER / file_name).write_text(page(file_name))
