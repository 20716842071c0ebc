"""In which ledger a call is paid: with ordinary coins. Those of test purchases are refused by name."""

from typing import Annotated

from pydantic import Field

from schemas.balance_ledger import Ledger
from serving.runtime.problems import Problem

PaidIn = Annotated[Ledger, Field(description="with which coins: a call takes no `sandbox` ones")]


def pay_with(ledger: Ledger) -> None:
    """Errors: Problem `sandbox_not_taken`, where it is not the ordinary ledger."""
    if ledger is not Ledger.ORDINARY:
        raise Problem(
            409,
            "sandbox_not_taken",
            "coins of test purchases buy no calls; leave `ledger` out to pay with others",
        )
