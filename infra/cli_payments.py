"""`olo payments`: what stores have sold, held against our purchases."""

from typing import Annotated

import httpx
import typer
from rich.table import Table

from infra import reconciling
from infra.acts import Reason, noted
from infra.cli_ads import connected, console
from infra.errors import UsageError
from infra.vendors.play_store import AwayError
from schemas.reconciliation import Cure, Difference

payments_app = typer.Typer(no_args_is_help=True, help="What stores have sold.")


@payments_app.callback()
def payments() -> None:
    """What stores have sold."""


@payments_app.command()
def reconcile(
    days: Annotated[int, typer.Option(help="the stores' history of so many days", min=1, max=reconciling.MAX_DAYS)] = 3,
    reason: Reason = "",
) -> None:
    """Hold the stores' history against our purchases, and mend what the store's own word mends; exit code 1 where a person has
    to look."""
    config = connected()
    stores = reconciling.sellers(config)
    if not stores:
        raise UsageError(
            "no store can be asked: set OLO_APPLE_KEY_FILE and its like, or OLO_PLAY_KEY_FILE; see docs/payment.md"
        )
    found: list[Difference] = []
    with httpx.Client(trust_env=False) as client, noted(config, "payments reconcile", f"--days {days}", reason):
        for store in stores:
            try:
                run = reconciling.reconcile(config, store, days, client)
            except AwayError as error:
                raise UsageError(f"{error}; run it again when the store answers") from error
            found.extend(run.differences)
            console.print(f"{store}: {run.command.told} told, {run.command.known} known, {len(run.differences)} differences")
    if found:
        table = Table(*Difference.__struct_fields__)
        for one in found:
            table.add_row(*reconciling.shown(one))
        console.print(table)
    if any(one.cure is not Cure.SEND_WORD for one in found):
        raise SystemExit(1)
