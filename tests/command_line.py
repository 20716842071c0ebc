"""The command line as tests run it: `olo` in this process, and `fresh_olo` in one of its own.

A Python that starts, and imports all that the command line needs, takes longer than nearly every command. A process of its own
is for commands that take over the process (`up`, `city`, `prove`), and for settings that would change the map of the log.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper

import pytest

from infra import cli, cli_ads
from schemas.log.entity import log_partitions, set_log_partitions

# No cell of a table is cut.
WIDTH = 250
Done = subprocess.CompletedProcess[str]


def without_olo() -> dict[str, str]:
    """The environment, without the settings of whoever runs the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("OLO_")}


def olo(*arguments: str, environment: Mapping[str, str]) -> Done:
    """What a command printed, and its exit code; `environment` is the whole of it."""
    # Some commands write bytes, which a StringIO has no buffer for.
    out, err = (TextIOWrapper(BytesIO(), "utf-8", newline="\n", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name in os.environ.keys() - environment.keys():
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        for module in (cli, cli_ads):
            patch.setattr(module.console, "width", WIDTH)
        patch.setattr(sys, "argv", ["olo", *arguments])
        code: object = None
        partitions = log_partitions()
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code
        finally:
            set_log_partitions(partitions)  # the command has read settings of its own
    status = code if isinstance(code, int) else code is not None
    return Done(["olo", *arguments], status, *(stream.buffer.getvalue().decode() for stream in (out, err)))


def fresh_olo(*arguments: str, environment: Mapping[str, str], module: str = "infra.cli") -> Done:
    """Likewise, in a new process; or another module's."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**environment, "COLUMNS": str(WIDTH)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
