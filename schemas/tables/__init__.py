"""The warehouse: plain SQL, desired state. `<table>.sql` makes a table, `<table>.select.sql` fills it from the log, and
`<view>.view.sql` is what analysts ask first."""

from pathlib import Path
from typing import Final

from msgspec import Struct

HERE: Final = Path(__file__).parent


class Projection(Struct, frozen=True):
    """A typed table that is filled from one topic of the log; `select` reads that topic and can be narrowed by AND.

    `rows_each`: how many rows a record may come to, roughly."""

    table: str
    topic: str
    rows_each: int = 1

    @property
    def select(self) -> str:
        """The statement without its place conditions."""
        return (HERE / f"{self.table}.select.sql").read_text()


LOG: Final = "log"
PROJECTIONS: Final = (
    Projection("balance_entries", "account.events"),
    Projection("calls", "call.events"),
    Projection("bills", "bill.events"),
    Projection("bill_steps", "bill.events", rows_each=50),
    Projection("gifts", "gift.events"),
    Projection("blocks", "blocks.events"),
    Projection("favorites", "favorites.events"),
    Projection("profiles", "profile.events"),
    Projection("private_reads", "private_profile.events"),
    Projection("presence", "user.events"),
    Projection("users", "user.events"),
    Projection("tariffs", "tariffs.events"),
    Projection("sightings", "user.events"),
    Projection("interactions", "pair.events"),
    Projection("tags", "member.events"),
    Projection("cohort_changes", "member.events"),
    Projection("engagements", "rank.events"),
    Projection("gallery_impressions", "viewer.events", rows_each=20),
    Projection("pushes", "install.events"),
    Projection("attributions", "attribution.events"),
    Projection("conversions", "attribution.events"),
    Projection("postbacks_forgone", "attribution.events"),
    Projection("postback_attempts", "outbox.events"),
)
TABLES: Final = (LOG, *(projection.table for projection in PROJECTIONS))
VIEWS: Final = (
    "revenue_per_day", "streamer_pay_per_day", "call_lengths", "tariff_mix", "presence_hours", "user_actions",
    "user_attributes", "cohort_membership", "postbacks", "campaign_performance", "campaign_funnel", "retention_by_cohort",
)  # fmt: skip


def ddl(table: str) -> str:
    """The statement that makes a table."""
    return (HERE / f"{table}.sql").read_text()


def view(name: str) -> str:
    """The statement that makes a view what its file says."""
    return f"CREATE OR REPLACE VIEW {name} AS {(HERE / f'{name}.view.sql').read_text()}"
