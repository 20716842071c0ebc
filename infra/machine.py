"""What operating systems do differently: Linux and macOS end orphans and limit open files in ways of their own.

Linux ends a child whose parent is gone, if asked to; macOS does not. There a guard, a small process of its own, reads a pipe
from this process: a line for each child, "<pid> <signal>". When this process is gone, however it ended, the pipe is at its end,
and the guard sends each child that still lives its signal.
"""

import ctypes
import os
import pwd
import resource
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

PR_SET_PDEATHSIG: Final = 1
# As many as macOS allows a process at all. A shell there begins with 256, and each phone of a city is at least one.
OPEN_FILES: Final = 10_240
BOOT_FILE: Final = Path("/proc/sys/kernel/random/boot_id")

_guard: subprocess.Popen[bytes] | None = None


def user_here() -> str:
    """Who runs this process, as the operating system knows it: what LOGNAME and the like claim anybody can set. `uid-<number>`:
    a user without a name, as containers have."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid-{os.getuid()}"


@cache
def boot_id() -> str:
    """What identifies this boot of the machine; empty where nobody says."""
    kernel_tells = sys.platform == "linux"
    if kernel_tells:
        return BOOT_FILE.read_text().strip() if BOOT_FILE.is_file() else ""
    asked = subprocess.run(["sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, text=True, check=False)
    return asked.stdout.strip()


def allow_open_files() -> None:
    """Let this process, and those that it starts from now on, open OPEN_FILES files, or as many as the machine lets it."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def launch(command: list[str], *, by: signal.Signals = signal.SIGTERM, **how: Any) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own; it gets the signal `by` when this process is gone, even when that is killed."""
    kernel_helps = sys.platform == "linux"
    # A function between fork and exec is safe here: whoever starts processes that must not be orphans has one thread.
    before = partial(_end_with_parent, by) if kernel_helps else None
    process = subprocess.Popen(command, preexec_fn=before, start_new_session=True, **how)  # noqa: PLW1509
    if not kernel_helps:
        _tell_guard(process.pid, by)
    return process


def _end_with_parent(by: signal.Signals) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, by)


def _tell_guard(pid: int, by: signal.Signals) -> None:
    global _guard
    if _guard is None or _guard.poll() is not None:
        _guard = subprocess.Popen([sys.executable, "-m", "infra.machine"], stdin=subprocess.PIPE, start_new_session=True)
    assert _guard.stdin is not None
    _guard.stdin.write(f"{pid} {int(by)}\n".encode())
    _guard.stdin.flush()


def guard(told: Iterable[str]) -> None:
    """Take note of each process that a line names; when the lines end, send those that still live their signal."""
    import psutil

    children = []
    for line in told:
        pid, by = map(int, line.split())
        with suppress(psutil.NoSuchProcess):
            # This knows a process by when it started, too: a later one that was given the same pid is left alone.
            children.append((psutil.Process(pid), by))
    for child, by in children:
        with suppress(psutil.NoSuchProcess):
            child.send_signal(by)


if __name__ == "__main__":
    guard(sys.stdin)
