"""What `olo quality` prints: a row a suite, and a line for each expectation that does not hold."""

from datetime import UTC, datetime, timedelta

from clickhouse_connect.driver.client import Client
from rich.console import Console
from rich.table import Table

from infra.quality import SUITES, Outcome, check


def show(client: Client, days: int, console: Console) -> int:
    """Check, and print; how many expectations do not hold."""
    since = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=days)
    findings = list(check(client, since))
    table = Table("table", "rows", "expectations", "not held", title=f"the last {days} days", title_justify="left")
    for suite in SUITES:
        mine = [one for one in findings if one.suite == suite.name]
        bad = sum(not one.holds for one in mine)
        table.add_row(suite.name, f"{mine[0].rows:,}" if mine else "none", str(len(mine)), f"[red]{bad}[/]" if bad else "0")
    console.print(table)
    broken = [one for one in findings if not one.holds]
    for one in broken:
        console.print(_line(one), style="red", soft_wrap=True)
    console.print(f"{len(broken)} expectations do not hold" if broken else f"all {len(findings)} expectations hold")
    return len(broken)


def _line(one: Outcome) -> str:
    examples = ", ".join(str(value) for value in one.examples)
    return f"NOT HELD  {one.suite}: {one.what}: {one.bad:,} of {one.rows:,} rows" + (
        f", such as {examples}" if examples else ""
    )
