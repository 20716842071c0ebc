"""One request's statement: where its data begin, which format it names, and what no statement may say.

The engine's own parser reads a statement first (`formatQuery`) and gives it back as one statement without comments; that is
what is looked at. Grants (`users.xml`) refuse most of what reaches files, addresses and commands. What they do not know is
refused here: `INTO OUTFILE` and `FROM INFILE`, which chDB's client does by itself, disks and engines made of an address, and
chDB's ways into Python.
"""

import re
from typing import Final, NamedTuple

# Strings, quoted names and comments are one token each, as are words; what is left is a character.
TOKEN: Final = re.compile(
    r"'(?:[^'\\]|\\.|'')*'|`(?:[^`\\]|\\.|``)*`|\"(?:[^\"\\]|\\.|\"\")*\"|--[^\n]*|#!?\s[^\n]*|/\*.*?\*/|[^\W\d]\w*|[^\s]", re.S
)
COMMENT: Final = ("--", "#", "/*")
# An INSERT's rows from elsewhere: there are no data behind the statement.
SELECTING: Final = {"SELECT", "WITH", "WATCH", "FROM"}

ENGINES: Final = frozenset(
    f"{kind}MERGETREE"
    for kind in ("", "REPLACING", "SUMMING", "AGGREGATING", "COLLAPSING", "VERSIONEDCOLLAPSING", "COALESCING")
) | {"MEMORY", "NULL", "LOG", "TINYLOG", "STRIPELOG", "VIEW", "MERGE", "BUFFER", "SET", "JOIN", "GENERATERANDOM", "ATOMIC"}
# Functions that reach a file, an address, a command or this process itself, and that no grant stands before: with them go all
# table functions of the engine but these, which make rows of nothing, or of tables that the user may read.
FUNCTIONS: Final = frozenset({"FILE", "DISK", "EVAL", "CATBOOSTEVALUATE"})
HARMLESS: Final = frozenset(
    """
    SQLStandardValues dictionary format fuzzJSON fuzzQuery generateRandom generateSeries generate_series input loop merge
    mergeTreeAnalyzeIndexes mergeTreeAnalyzeIndexesUUID mergeTreeCodecBlockCounts mergeTreeIndex mergeTreeProjection
    mergeTreeTextIndex null numbers numbers_mt primes values view viewExplain viewIfPermitted zeros zeros_mt
    """.upper().split()
)
READS: Final = frozenset({"SELECT", "WITH", "FROM", "(", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "CHECK"})
MAKING: Final = frozenset({"CREATE", "ATTACH", "REPLACE"})
# What a statement may begin with; grants decide what each may do.
FIRST: Final = (
    READS
    | {"INSERT", "CREATE", "ALTER", "DROP", "TRUNCATE", "OPTIMIZE", "RENAME", "EXCHANGE", "SET", "USE", "KILL"}
    | {"DELETE", "UPDATE", "REPLACE", "DETACH", "ATTACH"}
)


class RefusedError(Exception):
    """The statement may not run; the text is in the engine's form."""


class Split(NamedTuple):
    """A statement and what stands behind it. `format`: of the data; `data` is nothing where none can follow."""

    statement: str
    format: str = ""
    data: bytes | None = None


def split(text: bytes, body: bytes = b"") -> Split:
    """An INSERT's head and its data, in `text` or in the `body` that follows; any other statement is given back as it is."""
    head = text[:1_048_576].decode(errors="surrogateescape")
    words = (found for found in TOKEN.finditer(head) if not found.group().startswith(COMMENT))
    if (first := next(words, None)) is None or first.group().upper() != "INSERT":
        return Split((text + b"\n" + body if body else text).decode())
    depth = 0
    for found in words:
        word = found.group().upper()
        depth += (word == "(") - (word == ")")
        if depth or word not in ("FORMAT", "VALUES", *SELECTING):
            continue
        if word in SELECTING:
            return Split((text + b"\n" + body if body else text).decode())
        named = next(words, None) if word == "FORMAT" else None
        end = named.end() if named else found.end()
        rest = text[len(head[:end].encode(errors="surrogateescape")) :]
        if named:
            rest = rest.removeprefix(b"\r").lstrip(b" ").removeprefix(b"\n")
        return Split(head[: found.start()], named.group() if named else "Values", rest + body)
    return Split(text.decode(), "", body or None)


def literal(text: str) -> str:
    """The text as SQL writes it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def words_of(canonical: str) -> list[str]:
    """The tokens of a statement as the engine has written it: words and signs in capitals, names without their quotes."""
    return [token if token[0] == "'" else token.strip('`"').upper() for token in _tokens(canonical)]


def _tokens(canonical: str) -> list[str]:
    return [token for token in TOKEN.findall(canonical) if not token.startswith(COMMENT)]


def check(statement: str, words: list[str], reaching: frozenset[str] = FUNCTIONS) -> None:
    """Refuse what grants do not refuse. `reaching`: the functions that do. Errors: RefusedError."""
    # The engine takes what begins with no verb for a SELECT, and chDB's client takes some of that for its own commands.
    for first in (next(iter(words_of(statement)), ""), next(iter(words), "")):
        if first not in FIRST:
            raise _denied(f"no statement begins with {first or 'nothing'} here")
    for number, word in enumerate(words):
        before = words[number - 1] if number else ""
        after = words[number + 1] if number + 1 < len(words) else ""
        if (before, word) in (("INTO", "OUTFILE"), ("FROM", "INFILE")):
            raise _denied(f"{before} {word} reads or writes a file")
        named = before == "INTO" or (before == "TABLE" and words[0] in MAKING)
        if word in reaching and ((after == "(" and not named) or before == "APPLY"):
            raise _denied(f"{word.lower()}() reaches a file, an address, a command or this process")
        if (word, after) == ("ENGINE", "=") and words[0] in MAKING:
            engine = next(iter(words[number + 2 :]), "")
            if engine not in ENGINES and not engine.startswith("'"):  # a text is compared with a column of that name
                raise _denied(f"tables of the engine {engine} are not kept here")


def format_of(canonical: str) -> str:
    """The format that a statement names at its end; nothing: none."""
    tokens = _tokens(canonical)
    return tokens[-1] if len(tokens) > 2 and tokens[-2] == "FORMAT" else ""


def check_reading(words: list[str]) -> None:
    """GET changes nothing. Errors: RefusedError."""
    if words and words[0] not in READS:
        text = f"Code: 164. DB::Exception: Cannot execute query in readonly mode. For {words[0]} over HTTP, use method POST"
        raise RefusedError(f"{text}. (READONLY)")


def _denied(why: str) -> RefusedError:
    return RefusedError(f"Code: 497. DB::Exception: {why}; the warehouse's statements may not. (ACCESS_DENIED)")
