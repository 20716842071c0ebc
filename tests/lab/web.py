"""`make web`: the pages' client from the API's document, types, unit tests, the build, and how much a first paint takes.

Exit code 2 with the reason when one of them fails. The first paint is what the browser has to load before it draws `/phone` or
`/panel`: the document, every script and style that the manifest of the build says all of the application imports, and those of
the largest of the panel's pages, which are loaded when they are turned to; each as gzip.
"""

import gzip
import json
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from infra import pages
from infra.config import load
from infra.errors import UsageError
from serving.app import build

LIMIT_BYTES: Final = 150_000
MANIFEST: Final = pages.SOURCES / ".svelte-kit" / "output" / "client" / ".vite" / "manifest.json"
# What is ours and is loaded when it is turned to; all else is loaded before anything is drawn.
TURNED_TO: Final = "src/"


def client() -> None:
    """The types of the API's client, from its document."""
    app, _, hub = build(load())
    hub.close()
    (pages.SOURCES / "openapi.json").write_text(json.dumps(app.openapi()))
    _npm("client")


def first_paint_bytes() -> int:
    """All that the document loads, and what that loads, each once; more than one page needs, so never too little."""
    manifest: dict[str, Any] = json.loads(MANIFEST.read_text())

    def files_of(names: Iterable[str]) -> frozenset[str]:
        left, seen = list(names), set[str]()
        while left:
            if (name := left.pop()) not in seen:
                seen.add(name)
                left += manifest[name].get("imports", ())
        return frozenset(file for name in seen for file in (manifest[name]["file"], *manifest[name].get("css", ())))

    first = files_of(name for name, chunk in manifest.items() if not name.startswith(TURNED_TO) and "src" in chunk)
    turned_to = [files_of([name]) for name, chunk in manifest.items() if name.startswith(TURNED_TO) and "src" in chunk]
    return max(sum(map(_gzip_bytes, {"index.html", *first, *page})) for page in turned_to or [first])


def _gzip_bytes(file: str) -> int:
    return len(gzip.compress((pages.PAGES / file).read_bytes()))


def size() -> None:
    """Errors: UsageError, when a first paint takes too much."""
    if (found := first_paint_bytes()) > LIMIT_BYTES:
        raise UsageError(f"a first paint takes {found:,} bytes, more than {LIMIT_BYTES:,}")
    print(f"web: a first paint takes {found:,} bytes of {LIMIT_BYTES:,}")


def _npm(script: str) -> None:
    package: dict[str, Any] = json.loads((pages.SOURCES / "package.json").read_text())
    for command in package["scripts"][script].split(" && "):
        program, *arguments = command.split()
        pages.run(f"node_modules/.bin/{program}", *arguments)


def main() -> None:
    """Each step, with its time."""
    steps: list[tuple[str, Callable[[], object]]] = [
        ("install", pages.install),
        ("client", client),
        ("types", lambda: _npm("check")),
        ("tests", lambda: _npm("test")),
        ("build", pages.build),
        ("size", size),
    ]
    for name, step in steps:
        began = time.monotonic()
        try:
            step()
        except UsageError as error:
            print(f"web: {name}: {error}")
            raise SystemExit(2) from None
        print(f"web: {name} ({time.monotonic() - began:.1f} s)")


if __name__ == "__main__":
    main()
