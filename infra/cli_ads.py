"""`olo postbacks` and `olo attribution`: what ad networks and analytics are owed, and marketing's export."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from clickhouse_connect.driver.client import Client
from rich.console import Console
from rich.table import Table

from infra import outbox
from infra.acts import Reason, noted
from infra.attribution import Export, ExportFormat, Network
from infra.attribution import export as rows_of
from infra.clickhouse import TIMEOUT_S, connect
from infra.config import Config
from infra.endpoints import config_here
from infra.errors import UsageError
from infra.machine import user_here
from schemas.names import name_of
from schemas.outbox import EffectStatus
from schemas.postback import Provider

postbacks_app = typer.Typer(no_args_is_help=True, help="What ad networks and analytics are told.")
attribution_app = typer.Typer(no_args_is_help=True, help="Which campaigns bring whom.")
console = Console(highlight=False)
SHOWN: Final = 200

ProviderOption = Annotated[Provider | None, typer.Option(help="only of this provider")]
PostbackId = Annotated[str, typer.Argument(help="a postback's id, as `list` shows it")]


def connected() -> Config:
    """Settings with a broker. Errors: UsageError."""
    config = config_here()
    if not config.brokers:
        raise UsageError("no broker is running here; start one with `make up`, or set OLO_BROKERS")
    return config


def warehouse(timeout_s: int = TIMEOUT_S) -> Client:
    """A client of the warehouse. Errors: UsageError."""
    config = config_here()
    if not config.clickhouse_url:
        raise UsageError("no ClickHouse is running here; start the platform with `make up`, or set OLO_CLICKHOUSE_URL")
    return connect(config.clickhouse_url, timeout_s)


@postbacks_app.command()
def ledger() -> None:
    """All postbacks ever, by provider and event."""
    table = Table("provider", "event", "owed", "accepted", "refused", "under way", "tried again")
    for row in outbox.ledger(warehouse()):
        table.add_row(*map(str, row))
    console.print(table if table.row_count else "nothing was ever owed")


@postbacks_app.command(name="list")
def list_postbacks(
    provider: ProviderOption = None,
    status: Annotated[EffectStatus | None, typer.Option(help="only those that stand so")] = None,
) -> None:
    """The postbacks of the last days, those that need a person first."""
    found = sorted(outbox.postbacks(connected(), provider or "", status or ""), key=lambda one: one[1].status, reverse=True)
    table = Table("postback", "user", "stands", "attempts", "HTTP", "why")
    for name, effect in found[:SHOWN]:
        status_, why = str(effect.http_status or ""), effect.detail[:80]
        table.add_row(name, effect.subject, effect.status, str(effect.attempt), status_, why)
    console.print(table if found else "no postbacks")
    if len(found) > SHOWN:
        console.print(f"... and {len(found) - SHOWN} more; narrow it with --provider and --status")


@postbacks_app.command()
def show(postback: PostbackId) -> None:
    """One postback, with the vendor's last words, and without what else only the vendor may see."""
    console.print_json(data=outbox.shown(outbox.find(connected(), postback)))


@postbacks_app.command()
def redrive(
    postback: Annotated[str, typer.Argument(help="a refused or expired postback's id")] = "",
    provider: Annotated[Provider | None, typer.Option(help="all that this provider refused, or that came too late")] = None,
    reason: Reason = "",
) -> None:
    """Have it tried again, for a day, after the cause was mended."""
    config, by = connected(), user_here()
    if bool(postback) == bool(provider):
        raise UsageError("name one postback, or all of a provider with --provider")
    if postback:
        with noted(config, "postbacks redrive", postback, reason):
            outbox.redrive(config, postback, by)
        console.print(f"{postback} is tried again; see `olo postbacks show {postback}`")
        return
    bad = [one for one in outbox.postbacks(config, provider or "", "") if one[1].status in outbox.ENDED_BADLY]
    with noted(config, "postbacks redrive", f"--provider {provider}", reason):
        for name, effect in bad:
            outbox.redrive_found(config, name, effect, by)
    console.print(f"{len(bad)} postbacks to {provider} are tried again; see `olo postbacks list --provider {provider}`")


@attribution_app.command()
def name(
    text: Annotated[str, typer.Argument(help="a campaign's, an ad's or a network's name, as somebody else writes it")],
) -> None:
    """The form in which names stand here: bring the names of what was spent into it, to join them with the export."""
    sys.stdout.write(f"{name_of(text)}\n")


@attribution_app.command()
def export(
    begin: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="the first day of installs, UTC")],
    end: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="the last day")],
    network: Annotated[Network, typer.Option(help="snapchat: what it brought; appsflyer: every network")] = Network.APPSFLYER,
    format_: Annotated[ExportFormat, typer.Option("--format", help="csv, parquet or json (a row a line)")] = ExportFormat.CSV,
    out: Annotated[Path | None, typer.Option(help="a file instead of standard output")] = None,
) -> None:
    """Campaign performance by day of install, down to the ad: join it with spend for the cost of an install."""
    rows = rows_of(warehouse(), Export(begin.date(), end.date(), network, format_))
    if out is None:
        for piece in rows:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    with out.open("wb") as file:
        written = sum(file.write(piece) for piece in rows)
    console.print(f"{written:,} bytes in {out}")
