"""`make web`: the pages' client from the API's document, types, unit tests, the build, and how much a first paint takes.

Exit code 2 with the reason when one of them fails. The first paint is what the browser has to load before it draws `/phone` or
`/panel`: the document, and every script and style that the manifest of the build says the page imports, each as gzip.
"""

import gzip
import json
import re
import time
from collections.abc import Callable
from typing import Any, Final

from infra import pages
from infra.config import load
from infra.errors import UsageError
from serving.app import build

LIMIT_BYTES: Final = 150_000
IMPORTED: Final = re.compile(r"""["'(](?:\.{0,2}/)*((?:_app/immutable/)?(?:entry|nodes|chunks|assets)/[\w.-]+)["')]""")


def client() -> None:
    """The types of the API's client, from its document."""
    app, _, hub = build(load())
    hub.close()
    (pages.SOURCES / "openapi.json").write_text(json.dumps(app.openapi()))
    _npm("client")


def first_paint_bytes() -> int:
    """All that the document loads, and what that loads, each once; more than one page needs, so never too little."""
    document = pages.PAGES / "index.html"
    left, found = [document], {document}
    while left:
        for name in IMPORTED.findall(left.pop().read_text()):
            file = pages.PAGES / "_app" / "immutable" / name.removeprefix("_app/immutable/")
            if file not in found and file.is_file():
                found.add(file)
                left.append(file)
    return sum(len(gzip.compress(file.read_bytes())) for file in found)


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
