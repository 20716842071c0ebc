"""What the bodies of requests have in common: the base that they derive from, and the words that people write in them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]+$")]


class RequestBody(BaseModel):
    """A request's body. Fields that it does not have are refused, for whoever misspells one would not notice otherwise."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
