"""What a person at the command line did that cannot be done: told in one line, exit code 2."""

from typing import Final

# What a time that is over says, where nobody has given it words.
NO_ANSWER: Final = "no answer in time"


class UsageError(ValueError):
    """The text says what is wrong and what to do."""
