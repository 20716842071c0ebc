"""`olo payouts`: what became of what was paid."""

import httpx
import typer

from infra import payouts_asked
from infra.acts import Reason, noted
from infra.cli_ads import connected, console
from infra.config import missing_for_payouts
from infra.errors import UsageError
from infra.vendors.payouts import ProviderAwayError

payouts_app = typer.Typer(no_args_is_help=True, help="What became of what was paid.")


@payouts_app.callback()
def payouts() -> None:
    """What became of what was paid."""


@payouts_app.command()
def ask(reason: Reason = "") -> None:
    """Ask the provider about all that it has paid and that may come back still; exit code 1 where a person has to look."""
    config = connected()
    if missing := missing_for_payouts(config):
        raise UsageError(f"no provider pays here: set {', '.join(missing)}; see docs/payout.md")
    with httpx.Client(trust_env=False) as client, noted(config, "payouts ask", "", reason):
        try:
            run = payouts_asked.ask_all(config, client)
        except ProviderAwayError as error:
            raise UsageError(f"{error}; run it again when the provider answers") from error
    console.print(f"{run.asked} asked about, {len(run.returned)} came back, {run.left} left for the next run")
    for name, said in run.strange:
        console.print(f"{name} is paid, and the provider says {said}: ask them", markup=False)
    if run.strange:
        raise SystemExit(1)
