"""The words of a notice, as staff gives them."""

from typing import Annotated

from pydantic import Field

from serving.body import RequestBody


class NoticeTextBody(RequestBody):
    """What staff says, in one language."""

    language: Annotated[str, Field(min_length=2, max_length=8, pattern=r"^[a-z]+$")]
    title: Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[^\x00-\x1f]*$")]
    body: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
