"""The import law, and sizes: what a reader of the tree can rely on."""

import ast
import re
import sys
from functools import cache
from pathlib import Path
from typing import cast

from fastapi.routing import APIRoute

from serving.parts import parts
from tests.sources import PACKAGES, ROOT, files, imports, name_of, nodes_of, tree_of
from tests.whole import say

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
FILES = [file for package in (*PACKAGES[:4], "tests/lab") for file in files(package)]

# Who may import whom, the first match from the top; "outside" is any third party.
LAW: tuple[tuple[str, set[str]], ...] = (
    ("schemas", {"schemas", "msgspec"}),
    ("pipelines/flows", {"pipelines", "schemas", "infra", "outside"}),
    ("pipelines/runtime/agenda.py", set()),
    ("pipelines/runtime/states.py", {"pipelines.runtime.agenda"}),
    ("pipelines/runtime/lane.py", {"pipelines.runtime.states", "schemas", "msgspec"}),
    ("pipelines/runtime/failures.py", {"pipelines.runtime.lane", "schemas", "msgspec"}),
    (
        "pipelines/runtime/core.py",
        {f"pipelines.runtime.{name}" for name in ("agenda", "failures", "lane", "states")} | {"schemas", "msgspec"},
    ),
    ("pipelines/runtime/simulator.py", {"pipelines", "schemas"}),
    ("pipelines/runtime/replay.py", {"pipelines", "schemas", "msgspec"}),
    ("pipelines/runtime", {"pipelines", "schemas", "infra", "outside"}),
    ("pipelines", {"schemas", "msgspec"}),
    ("serving", {"serving", "schemas", "infra", "outside"}),
    ("infra", {"infra", "schemas", "outside"}),
    ("tests/lab/proofs/ledger.py", set()),
    ("tests/lab/proofs/auditor.py", {"tests.lab.proofs.ledger", "infra", "outside"}),
    ("tests/lab/proofs/calls.py", {"tests.lab.proofs.ledger", "tests.lab.proofs.auditor", "infra", "outside"}),
    ("tests/lab", {"infra", "schemas", "pipelines", "serving", "tests", "outside"}),
)
# The floors of the house, from the ground up; a name belongs to the first entry that fits, the longest name first.
FLOORS = (
    ("schemas.log",),
    ("schemas",),
    ("schemas.log.topics", "schemas.log.export", "schemas.log.outward", "schemas.log.templates", "schemas.tables"),
    ("infra.errors", "infra.config", "infra.hasura_jwt"),
    ("infra",),
    ("pipelines",),
    ("pipelines.runtime",),
    ("pipelines.flows",),
    ("serving.view_store",),
    ("serving.runtime",),
    ("serving",),
    ("serving.app", "serving.parts", "serving.__main__"),
    ("infra.supervisor", "infra.laboratory", "infra.readiness"),
    ("infra.platform",),
    ("infra.doctor", "infra.cli_ads", "infra.cli_jobs", "infra.cli_payments", "infra.cli_payouts"),
    ("infra.cli",),
    ("tests",),
)
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}
DOMAINS = sorted(file.stem for file in (ROOT / "pipelines").glob("*.py") if file.stem != "__init__")


def test_the_import_law_holds() -> None:
    say([f"{name_of(file)} imports {name}" for file in FILES for name in imports(file) if not is_allowed(name_of(file), name)])


def is_allowed(path: str, name: str) -> bool:
    """Whether a file may import this."""
    allowed = next(names for prefix, names in LAW if path.startswith(prefix))
    top = name.split(".")[0]
    kind = top if top in PACKAGES or top in allowed else "outside"
    return top in sys.stdlib_module_names or kind in allowed or name in allowed


@cache
def floor_of(module: str) -> int:
    return next(FLOOR_OF[name] for name in sorted(FLOOR_OF, key=len, reverse=True) if f"{module}.".startswith(f"{name}."))


def test_no_import_runs_up_a_floor() -> None:
    modules = {
        file: file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__") for file in FILES
    }
    say([
        f"{module} imports {name}, which stands on a higher floor"
        for file, module in modules.items()
        for name in imports(file)
        if name.split(".")[0] in PACKAGES and floor_of(name) > floor_of(module)
    ])  # fmt: skip


def test_domains_never_import_each_other() -> None:
    for domain in DOMAINS:
        for name in imports(ROOT / "pipelines" / f"{domain}.py"):
            assert not name.startswith("pipelines"), f"pipelines/{domain}.py imports {name}"


def has_router(file: Path) -> bool:
    names = (target for node in tree_of(file).body if isinstance(node, ast.Assign) for target in node.targets)
    return any(isinstance(name, ast.Name) and name.id == "router" for name in names)


def test_routers_never_import_each_other() -> None:
    routers = {f"serving.{file.stem}" for file in (ROOT / "serving").glob("*.py") if has_router(file)}
    assert [part.name for part in parts()] == sorted(routers)
    for file in (ROOT / "serving").rglob("*.py"):
        nodes = [node for node in nodes_of(file) if isinstance(node, ast.ImportFrom)]
        imported = {*imports(file), *(f"{node.module}.{alias.name}" for node in nodes for alias in node.names)}
        assert file.name == "app.py" or not routers & imported, f"{file.name} imports {routers & imported}"


def test_no_route_hides_another() -> None:
    routes = [route for part in parts() for route in cast(list[APIRoute], part.router.routes)]
    for route in routes:
        path = re.sub(r"\{\w+\}", "x", route.path)
        reached = next(
            other for other in routes if (other.methods or set()) & (route.methods or set()) and other.path_regex.match(path)
        )
        assert reached is route, f"{reached.path} hides {route.path}"


def test_files_and_functions_stay_small() -> None:
    everything = sorted({*FILES, *files("tests")})
    lines = {file: file.read_text().count("\n") for file in everything}
    say([f"{name_of(file)} has {count} lines" for file, count in lines.items() if count > 400])
    functions = [(file, node) for file in everything for node in nodes_of(file) if isinstance(node, FUNCTIONS)]
    sizes = [(file, node.name, (node.end_lineno or 0) - node.lineno + 1) for file, node in functions]
    say([f"{name} in {name_of(file)} has {size} lines" for file, name, size in sizes if size > 70])


def test_every_module_and_public_name_says_what_it_is() -> None:
    say([f"{name_of(file)} has no docstring" for file in FILES if not ast.get_docstring(tree_of(file))])
    public = [
        (file, node)
        for file in FILES
        for node in tree_of(file).body
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_")
    ]
    say([f"{node.name} in {name_of(file)} has no docstring" for file, node in public if not ast.get_docstring(node)])
