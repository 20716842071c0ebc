"""Whether a body can be parsed at all: looked at as bytes, in time linear in its length, before anything is made of it.

Parsers and validators pay by the value: 64 KiB of `[],` are some twenty thousand lists, and an error for each. So a body's
depth and its number of values are counted beforehand, and what a JSON text cannot say in UTF-8 (NUL, halves of surrogate
pairs, NaN and Infinity, which Python takes and no standard knows) is refused, since nothing behind could write it down again.
"""

import json
import re
from typing import Any, Final

from serving.runtime.problems import Problem

# The deepest body of the API is a cohort's rule; the longest one, of an admin, lists a group's users, all others are short.
MAX_DEPTH: Final = 32
MAX_VALUES: Final = 20_000
FEW_VALUES: Final = 2_000

# A string without an end goes up to the body's: else each quote in it would be tried as a beginning, in quadratic time.
STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
BRACKETS: Final = re.compile(rb"[\[\]{}]")
SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
NO_NUMBERS: Final = re.compile(rb"NaN|Infinity")


def problem_of(body: bytes, most: int = MAX_VALUES) -> Problem | None:
    """Why a JSON body is not parsed; None: it may be. It has `most` values, and likewise lists and objects. Broken JSON passes,
    for the parser says better what is wrong."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return Problem(400, "broken_json", "the body is no JSON; JSON is UTF-8, and this is not")
    if b"\0" in body:
        return Problem(400, "broken_json", "the body is no JSON; a NUL stands in it")
    # Of so many quotes not all belong to texts of so few values; and one by one they would be slow to look at.
    wide = body.count(b'"') - body.count(b'\\"') > 2 * most
    bare = b"" if wide else STRINGS.sub(b"0", body)
    if wide or max(1 + bare.count(b",") + bare.count(b":"), bare.count(b"[") + bare.count(b"{")) > most:
        return Problem(400, "json_too_wide", f"the body has more than {most} values; send it in parts")
    if _is_deep(bare):
        return Problem(400, "json_too_deep", f"the body is nested more than {MAX_DEPTH} deep")
    if NO_NUMBERS.search(bare):
        return Problem(400, "broken_json", "the body is no JSON; NaN and Infinity are no numbers of JSON")
    if SURROGATE.search(body) and not _is_text(body):
        return Problem(
            400, "text_invalid", "a text of the body has half of a surrogate pair, such as \\ud800; send whole letters"
        )
    return None


def _is_deep(bare: bytes) -> bool:
    depth = 0
    for bracket in BRACKETS.finditer(bare):
        depth += 1 if bracket[0] in b"[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


def _is_text(body: bytes) -> bool:
    """Whether all texts of a body can be written in UTF-8."""
    try:
        json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    except (ValueError, RecursionError):  # the parser behind will say what is wrong
        return True
    return True


def read_json(body: bytes) -> Any:
    """A body as JSON. Errors: Problem 400 for one that is not parsed, ValueError for one that is no JSON."""
    if problem := problem_of(body):
        raise problem
    return json.loads(body)
