"""`make .venv/ready` on other machines: a bare PATH, stand-ins for Python and for the installer uv, nothing is downloaded.

`.ci/machines` does two of these ways with the real uv, the real package index and a real Python.
"""

import base64
import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import pip_wheel
from tests.command_line import Done

ROOT = Path(__file__).parent.parent
NEEDED = ("Makefile", "pyproject.toml", "uv.lock", "infra/bootstrap.sh", "infra/pip_wheel.py")
TOOLS = ("sh", "make", "env", "dirname", "mkdir", "cp", "touch", "sed")

# A Python of another version: what it is asked with -c is answered by this one, which says that it is the other.
PYTHON = """#!/bin/sh
[ "$1" = -c ] && exec {real} -c "import sys; sys.version = '{version}'
sys.version_info = tuple(map(int, sys.version.split('.'))); exec(sys.argv[1])" "$2"
echo "python $*" >>{asked}
case "$*" in
  "-m venv --clear .uv") [ {pip} = True ] || {{ echo "ensurepip is not available"; exit 1; }} ;;
  "infra/pip_wheel.py .uv") echo "$PWD/.uv/pip.whl" ;;
  "-m pip install "*)
    [ -z "$OFFLINE" ] || {{ echo "WARNING: trying again"; echo "ERROR: no index answers"; exit 1; }}
    [ -z "$PYTHONPATH" ] || echo "with PYTHONPATH=$PYTHONPATH" >>{asked}
    cp {uv} .uv/bin/uv ;;
esac
mkdir -p .uv/bin && cp "$0" .uv/bin/python 2>/dev/null || true
"""
# As a shim of pyenv says it where its version is not installed.
BROKEN = "#!/bin/sh\necho 'pyenv: python: command not found' >&2\nexit 127\n"
UV = """#!/bin/sh
case "$*" in
  --version) echo "uv 0.13.9 (of a test)"; exit ;;
  "python install "*)
    echo "into $UV_PYTHON_INSTALL_DIR" >>{asked}
    [ -z "$NO_DOWNLOADS" ] || {{ echo "error: no Python came"; echo "  cause: refused"; exit 1; }} ;;
  "python find "*) echo /brought/python3.12 ;;
  sync*) mkdir -p "$UV_PROJECT_ENVIRONMENT" ;;
esac
echo "uv $*" >>{asked}
"""


class Machine:
    """A copy of what `make .venv/ready` reads, and a PATH of a few tools; what its stand-ins were asked, in order."""

    def __init__(self, folder: Path) -> None:
        self.project, self.bin, self.record = folder / "olo", folder / "bin", folder / "asked"
        self.bin.mkdir()
        for name in NEEDED:
            (self.project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.project / name)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool) or tool)
        self.script(folder / "uv", UV.format(asked=self.record))

    def script(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def python(self, name: str, version: str, *, pip: bool = True) -> None:
        """Put a Python of this version on the PATH; without a version: one that does not run."""
        uv = self.bin.parent / "uv"
        text = PYTHON.format(real=sys.executable, version=version, pip=pip, asked=self.record, uv=uv) if version else BROKEN
        self.script(self.bin / name, text)

    def make(self, *arguments: str, **environment: str) -> Done:
        given = {"PATH": str(self.bin)} | environment
        return subprocess.run(
            ["make", *arguments, ".venv/ready"],
            cwd=self.project, env=given, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    @property
    def asked(self) -> list[str]:
        return self.record.read_text().splitlines() if self.record.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


FOUND = [
    ({"python3.12": "3.12.4"}, "python3.12"),
    ({"python3.11": "3.11.0"}, "python3.11"),
    ({"python3.11": "3.11.9", "python3": "3.14.0"}, "python3.11"),
    ({"python3": "3.12.1", "python3.9": "3.9.2"}, "python3"),
    ({"python3.12": "", "python3.11": "3.11.7", "python3": ""}, "python3.11"),
    ({"python3.12": "", "python3": "3.11.7"}, "python3"),
    ({"python3": "3.10.1", "python": "3.11.7"}, "python"),
]


@pytest.mark.parametrize(("there", "taken"), FOUND)
def test_a_python_3_11_or_3_12_on_the_path_is_taken_and_one_that_does_not_run_is_passed_over(
    machine: Machine, there: dict[str, str], taken: str
) -> None:
    for name, version in there.items():
        machine.python(name, version)
    done = machine.make()
    assert done.returncode == 0, done.stderr
    assert machine.asked == [
        "python -m venv --clear .uv",
        "python -m pip install --quiet --disable-pip-version-check uv==0.13.9",
        f"uv sync --frozen --quiet --python {machine.bin}/{taken}",
    ]
    again = machine.make()
    assert "up to date" in again.stdout
    assert len(machine.asked) == 3
    for name in ("pyproject.toml", ".venv/ready"):
        os.utime(machine.project / name, (0, 0))  # only the lock is newer, even where a file's clock ticks coarsely
    assert machine.make().returncode == 0
    assert machine.asked[3:] == [machine.asked[2]]  # uv is there already


def test_a_python_that_is_named_is_taken(machine: Machine) -> None:
    machine.python("python3.12", "3.12.4")
    machine.python("mine", "3.11.7")
    assert machine.make("PYTHON=mine").returncode == 0
    assert machine.asked[-1].endswith(f"--python {machine.bin}/mine")


@pytest.mark.parametrize("there", [{"python3": "3.14.0"}, {"python3.13": "3.13.1", "python3.12": ""}, {"python3": "3.9.6"}])
def test_where_there_is_neither_uv_brings_one_into_the_project(machine: Machine, there: dict[str, str]) -> None:
    for name, version in there.items():
        machine.python(name, version)
    done = machine.make()
    assert done.returncode == 0, done.stderr
    assert machine.asked[2:] == [
        f"into {machine.project}/.uv/python",
        "uv python install --no-bin >=3.11,<3.13",
        "uv python find --managed-python >=3.11,<3.13",
        "uv sync --frozen --quiet --python /brought/python3.12",
    ]


def test_a_python_without_ensurepip_gets_pip_as_a_wheel(machine: Machine) -> None:
    machine.python("python3", "3.12.3", pip=False)
    done = machine.make()
    assert done.returncode == 0, done.stderr
    assert machine.asked == [
        "python -m venv --clear .uv",
        "python -m venv --clear --without-pip .uv",
        "python infra/pip_wheel.py .uv",
        "python -m pip install --quiet --disable-pip-version-check uv==0.13.9",
        f"with PYTHONPATH={machine.project}/.uv/pip.whl",
        f"uv sync --frozen --quiet --python {machine.bin}/python3",
    ]


REFUSED = [
    ({}, [], {}, "there is no Python from 3.9 on here; install Python 3.12, or name one"),
    ({"python3": "3.8.18", "python3.12": ""}, [], {}, "there is no Python from 3.9 on here"),
    ({"python3": "3.12.1"}, [], {"OFFLINE": "1"}, "uv could not be fetched (ERROR: no index answers)"),
    (
        {"python3": "3.13.0"},
        [],
        {"NO_DOWNLOADS": "1"},
        "none could be fetched (cause: refused); install Python 3.12, or name one",
    ),
    ({"python3": "3.12.1", "mine": "3.13.0"}, ["PYTHON=mine"], {}, "PYTHON=mine is 3.13.0; leave PYTHON out"),
    ({"python3": "3.12.1", "mine": ""}, ["PYTHON=mine"], {}, "PYTHON=mine is no Python that runs; leave PYTHON out"),
    ({"python3": "3.12.1"}, [], {"PYTHON": "/nowhere/python"}, "PYTHON=/nowhere/python is no Python that runs"),
]


@pytest.mark.parametrize(("there", "arguments", "environment", "says"), REFUSED)
def test_what_cannot_be_is_one_line_that_says_what_to_do(
    machine: Machine, there: dict[str, str], arguments: list[str], environment: dict[str, str], says: str
) -> None:
    for name, version in there.items():
        machine.python(name, version)
    done = machine.make(*arguments, **environment)
    first, *rest = done.stderr.splitlines()
    assert (done.returncode, says in first, first.startswith("olo: ")) == (2, True, True), done.stderr
    assert [line.partition(":")[0] for line in rest] == ["make"]  # which says that the target failed
    assert not any(line.startswith("uv sync") for line in machine.asked)
    assert not (machine.project / ".venv").exists()


# --- pip's wheel -------------------------------------------------------------------------------------------------------------


class Index(http.server.BaseHTTPRequestHandler):
    """A package index with one wheel of pip, for whoever brings the password."""

    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        content = self.server.content.get(self.path)
        allowed = self.headers.get("Authorization") in (None, "Basic " + base64.b64encode(b"ann:se/cret").decode())
        self.send_response(200 if content and allowed else 404)
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_: str) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    """An index that serves, and what it has."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Index)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.content: dict[str, bytes | None] = {"/files/" + pip_wheel.WHEEL: b"a wheel"}

    def list(self, link: str) -> None:
        older = f'<a href="/files/pip-9.0.1-py2.py3-none-any.whl#sha256=0">older</a> <a href="{link}.metadata">not it</a>\n'
        self.content["/simple/pip/"] = f'{older}<a href="{link}#sha256=1" data-requires-python="&gt;=3.9">it</a>'.encode()


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """The index, and what pip is told of it: nothing yet."""
    for name in [name for name in os.environ if name.startswith("PIP_")] + ["SSL_CERT_FILE"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(pip_wheel, "SHA256", hashlib.sha256(b"a wheel").hexdigest())
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("folder", ["../../files/", "/files/", "{url}/files/"])
def test_pip_comes_from_the_index_that_the_environment_names(
    index: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: str
) -> None:
    index.list(folder.format(url=index.url) + pip_wheel.WHEEL)
    monkeypatch.setenv("PIP_INDEX_URL", f"{index.url}/simple/")
    pip_wheel.main(tmp_path)
    where = capsys.readouterr().out.strip()
    assert (where, Path(where).read_bytes()) == (str(tmp_path / pip_wheel.WHEEL), b"a wheel")


def test_pip_comes_from_the_index_of_pips_configuration_with_its_password(index: Server, tmp_path: Path) -> None:
    index.list("../../files/" + pip_wheel.WHEEL)
    configuration = tmp_path / ".config" / "pip" / "pip.conf"
    configuration.parent.mkdir(parents=True)
    configuration.write_text(f"[global]\nindex-url = {index.url.replace('//', '//ann:se%2Fcret@')}/simple\n")
    assert pip_wheel.fetch_wheel() == b"a wheel"


def test_a_wheel_with_another_hash_or_none_at_all_is_one_line(
    index: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"{index.url}/simple")
    for content, says in ((b"another", "wrong hash"), (None, "404")):
        index.list("/files/" + pip_wheel.WHEEL)
        index.content["/files/" + pip_wheel.WHEEL] = content
        with pytest.raises(SystemExit, match=says):
            pip_wheel.main(tmp_path)
    index.content["/simple/pip/"] = b"<a href='pip-9.0.1.tar.gz'>"
    with pytest.raises(SystemExit, match="the package index has no pip-25"):
        pip_wheel.main(tmp_path)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(SystemExit, match="refused"):
        pip_wheel.main(tmp_path)
    assert not (tmp_path / pip_wheel.WHEEL).exists()
