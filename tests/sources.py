"""The source tree as tests look at it: each file is read, parsed and walked once a run."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("schemas", "pipelines", "serving", "infra", "tests")


@cache
def files(folder: str) -> tuple[Path, ...]:
    """Every module in a folder and below it, by name."""
    return tuple(sorted((ROOT / folder).rglob("*.py")))


def name_of(file: Path) -> str:
    """A file's place in the tree."""
    return file.relative_to(ROOT).as_posix()


@cache
def tree_of(file: Path) -> ast.Module:
    """A file, parsed."""
    return ast.parse(file.read_text())


@cache
def nodes_of(file: Path) -> tuple[ast.AST, ...]:
    """Everything in a file, from the outside to the inside."""
    return tuple(ast.walk(tree_of(file)))


@cache
def imports(file: Path) -> tuple[str, ...]:
    """The modules that a file imports, anywhere."""
    found: list[str] = []
    for node in nodes_of(file):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found.append(node.module or "")
    return tuple(found)
