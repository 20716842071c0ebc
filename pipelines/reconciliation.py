"""Reconciliations, keyed by run: what a run found is told once, and kept for a while.

State: the run and its differences (`schemas.reconciliation.Reconciliation`). Laws: a run is told once; each of its differences
is a fact of its own. Nothing is refused: a run that comes again changes nothing.
"""

from collections.abc import Sequence

from schemas.log.base import Message, Wake, reply, same_fields
from schemas.reconciliation import (
    Cure,
    DifferenceFound,
    Reconciliation,
    ReconciliationInbox,
    ReconciliationRecorded,
    RecordReconciliation,
)

Decision = tuple[Reconciliation | None, Sequence[Message]]


def decide_reconciliation(run: Reconciliation | None, message: ReconciliationInbox) -> Decision:
    """Decide one message of a run's inbox."""
    match message:
        case Wake():
            return (None if run is not None and run.is_due(message.at) else run), ()
        case RecordReconciliation() if run is not None:
            return run, ()
        case RecordReconciliation():
            return _recorded(message)


def _recorded(message: RecordReconciliation) -> Decision:
    state = Reconciliation(**same_fields(message, Reconciliation))
    fields = same_fields(message, ReconciliationRecorded) | {"differences": len(message.differences) + message.left_off}
    cured = sum(one.cure is Cure.SEND_WORD for one in message.differences)
    found = [
        DifferenceFound(
            **reply(message, number), run=message.run, store=message.store, **same_fields(one, DifferenceFound)
        )
        for number, one in enumerate(message.differences, 1)
    ]  # fmt: skip
    return state, (ReconciliationRecorded(**reply(message), **fields, cured=cured), *found)
