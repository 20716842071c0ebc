"""Who stands in the tests' stories: ids that mypy knows to be ids."""

from typing import Final

from schemas.log.base import UserId

ANN: Final = UserId("ann")
BOB: Final = UserId("bob")
EVE: Final = UserId("eve")
SUE: Final = UserId("sue")
