"""Work of a second or more that staff asks for, in a process of its own: its lines as they come.

So much Python at once would hold up everybody else who is answered here. One such process runs at a time; it ends with whoever
asked, and after a limit.
"""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Final

from infra.config import Config

# A line is not longer than this.
MAX_LINE: Final = 1_000_000
_one_at_a_time: Final = asyncio.Semaphore(1)


async def lines_of(config: Config, module: str, *arguments: str, given: bytes = b"", limit_s: float) -> AsyncGenerator[bytes]:
    """The lines that a module says when it is run, on the platform of this process. Errors: TimeoutError."""
    settings = {"OLO_BROKERS": config.brokers, "OLO_CLICKHOUSE_URL": config.clickhouse_url, "OLO_HOME": str(config.home)}
    async with _one_at_a_time, asyncio.timeout(limit_s):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, *arguments, env=os.environ | settings, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, limit=MAX_LINE,
        )  # fmt: skip
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(given)
            process.stdin.close()
            async for line in process.stdout:
                yield line
            await process.wait()
        finally:
            with suppress(ProcessLookupError):
                process.kill()
