"""Marketing's export: campaign performance by day of install and down to the ad, ready to be joined with what was spent.

A row: date (of the install, UTC), network, campaign, campaign_id, adset, adset_id, ad, ad_id, platform, country, and counts:
installs, sign_ups, purchasers, purchases, coins_bought, callers, calls. Cost per install is what was spent on the same date and
ids, divided by `installs`; names there have to be in the form of `schemas.names`. For `snapchat`: what Snapchat brought; for
`appsflyer`: every network, as AppsFlyer attributes it. Names come from ads, which anybody can write: in CSV, which spreadsheets
open, one that would be taken for a formula has an apostrophe in front (OWASP, CSV injection); Parquet and JSON have it plain.
"""

from collections.abc import Iterator
from datetime import date
from enum import StrEnum
from typing import Any, Final, NamedTuple

from clickhouse_connect.driver.client import Client

from infra.errors import UsageError

CHUNK: Final = 65_536
NAMES: Final = ("network", "campaign", "campaign_id", "adset", "adset_id", "ad", "ad_id", "platform", "country")
# What a spreadsheet takes for the beginning of a formula, also where it leaves out what stands before.
FORMULA: Final = r"^[=+\\-@\\t\\r\\n\\x{FF1D}\\x{FF0B}\\x{FF0D}\\x{FF20}]"


class Network(StrEnum):
    """Whose report it is."""

    SNAPCHAT = "snapchat"
    APPSFLYER = "appsflyer"


class ExportFormat(StrEnum):
    """How rows are written. `json`: a row a line."""

    CSV = "csv"
    PARQUET = "parquet"
    JSON = "json"


FORMATS: Final = {
    ExportFormat.CSV: ("CSVWithNames", "text/csv; charset=utf-8"),
    ExportFormat.PARQUET: ("Parquet", "application/vnd.apache.parquet"),
    ExportFormat.JSON: ("JSONEachRow", "application/x-ndjson"),
}


class Export(NamedTuple):
    """What is asked for: both dates are in it."""

    begin: date
    end: date
    network: Network
    format: ExportFormat

    @property
    def name(self) -> str:
        """A file name for it."""
        return f"attribution-{self.network}-{self.begin}-{self.end}.{self.format}"

    @property
    def media_type(self) -> str:
        """Of its rows."""
        return FORMATS[self.format][1]


def columns(wanted: ExportFormat) -> str:
    """What is selected: in CSV, names that would be formulas with an apostrophe in front."""
    names = ", ".join(f"if(match({name}, '{FORMULA}'), '\\'' || {name}, {name}) AS {name}" for name in NAMES)
    return f"* REPLACE ({names})" if wanted is ExportFormat.CSV else "*"


def export(client: Client, wanted: Export) -> Iterator[bytes]:
    """The rows, in pieces, as the warehouse gives them. Errors: UsageError, those of ClickHouse."""
    if wanted.begin > wanted.end:
        raise UsageError(f"--from {wanted.begin} lies behind --to {wanted.end}")
    condition = "AND network = {network:String}" if wanted.network is Network.SNAPCHAT else ""
    days = "date BETWEEN {begin:Date} AND {end:Date}"
    sql = f"SELECT {columns(wanted.format)} FROM campaign_performance WHERE {days} {condition}"
    parameters = {"begin": wanted.begin, "end": wanted.end, "network": wanted.network.value}
    stream = client.raw_stream(sql, parameters=parameters, fmt=FORMATS[wanted.format][0])
    return _pieces(stream)


def _pieces(stream: Any) -> Iterator[bytes]:
    try:
        while piece := stream.read(CHUNK):
            yield piece
    finally:
        stream.close()
