"""The warehouse's tables: plain SQL, desired state. `<table>.sql` makes it, `<table>.select.sql` fills it from the log."""

from pathlib import Path
from typing import Final

from msgspec import Struct

HERE: Final = Path(__file__).parent


class Projection(Struct, frozen=True):
    """A typed table that is filled from one topic of the log; `select` reads that topic and can be narrowed by AND."""

    table: str
    topic: str

    @property
    def select(self) -> str:
        """The statement without its place conditions."""
        return (HERE / f"{self.table}.select.sql").read_text()


LOG: Final = "log"
TABLES: Final = (LOG, "balance_entries")
PROJECTIONS: Final = (Projection("balance_entries", "account.events"),)


def ddl(table: str) -> str:
    """The statement that makes a table."""
    return (HERE / f"{table}.sql").read_text()
