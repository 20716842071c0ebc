"""Texts in a table that a spreadsheet would take for a formula: each gets an apostrophe in front, which is not shown there.

A spreadsheet also takes for a formula what stands behind a tab or a line's end. Numbers stay as they are; so do, in
what the engine writes, the names of the ledger's outside parties, such as `@apple`: there is nothing in them to be worked out.
"""

import re
from typing import Final

# With what a formula begins, in wide letters, too.
FORMULA: Final = re.compile("[\\t\\r\\n]*[=+\\-@\uff1d\uff0b\uff0d\uff20]")
PARTY: Final = re.compile(r"@[a-z_]+(/[a-z_]+)?")
# A text of the engine's CSV: texts are quoted there, numbers are not.
QUOTED: Final = re.compile(rb'"(?:[^"]|"")*"')


def cell(text: str) -> str:
    """The text as a cell."""
    return f"'{text}" if FORMULA.match(text) else text


def harmless(table: bytes) -> bytes:
    """A table in the engine's CSV, whose texts are no formulas."""
    return QUOTED.sub(_quoted, table)


def _quoted(found: re.Match[bytes]) -> bytes:
    inner = found.group()[1:-1]
    text = inner.decode(errors="surrogateescape")
    return found.group() if PARTY.fullmatch(text) or cell(text) == text else b"\"'" + inner + b'"'
