"""What a person at the command line did that cannot be done: told in one line, exit code 2."""


class UsageError(ValueError):
    """The text says what is wrong and what to do."""
