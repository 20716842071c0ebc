"""The words of a notice, as staff gives them; each language once, and never only spaces."""

from collections.abc import Sequence
from typing import Annotated, Final, Protocol, TypeVar

from pydantic import Field

from serving.body import RequestBody

# A line, and a text, that say something.
LINE: Final = r"^[^\x00-\x1f]*[^\s\x00-\x1f][^\x00-\x1f]*$"
WORDS: Final = r"^[^\x00]*[^\s\x00][^\x00]*$"


class InLanguage(Protocol):
    """A text of one language."""

    language: str


Texts = TypeVar("Texts", bound=Sequence[InLanguage])


def each_language_once(texts: Texts) -> Texts:
    """The texts. Errors: ValueError where a language has two, of which nobody would see the second."""
    languages = [text.language for text in texts]
    if len(set(languages)) < len(languages):
        raise ValueError("a language has two texts")
    return texts


class NoticeTextBody(RequestBody):
    """What staff says, in one language."""

    language: Annotated[str, Field(min_length=2, max_length=8, pattern=r"^[a-z]+$")]
    title: Annotated[str, Field(min_length=1, max_length=60, pattern=LINE)]
    body: Annotated[str, Field(min_length=1, max_length=200, pattern=WORDS)]
