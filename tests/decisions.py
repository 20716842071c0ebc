"""Messages through a decider, one behind the other, as the host brings them."""


def last_decision(decide, *messages, state=None):
    """The state behind the messages, and what the last one of them told."""
    told = ()
    for message in messages:
        state, told = decide(state, message)
    return state, list(told)


def all_decisions(decide, *messages, state=None):
    """The state behind the messages, and all that was told on the way."""
    told = []
    for message in messages:
        state, more = decide(state, message)
        told += more
    return state, told
