"""A backtest as a person reads it: a table, a chart, and who gains and loses most."""

from typing import Any, Final

from rich.console import Console
from rich.table import Table

from infra.backtest import Backtest, Draft

BAR: Final = 40


def show(draft: Draft, result: Backtest, days: int, console: Console) -> None:
    """Print the result. A backtest whose own check failed says so first."""
    sums = result.sums
    console.print(
        f"{result.calls:,} calls of the last {days} days; "
        f"{sums['calls'] or 0:,} of them would run under the draft of {draft.tariff}"
    )
    if result.unequal:
        console.print(
            f"[yellow]{result.unequal:,} calls were not billed as their tariff rates them: an account refused a step[/]"
        )
    else:
        console.print("rated with the versions in force they come to what was billed, to the coin")
    if result.left:
        console.print(
            f"[yellow]{result.left:,} calls of {draft.tariff} do not fit the draft's rule: they stay as billed here[/]"
        )
    if not sums["calls"]:
        return
    console.print(_table(sums))
    console.print(_chart(result.buckets))
    for title, changes in result.changes.items():
        if changes:
            table = Table(title=title, title_justify="left")
            for column in ("who", "calls", "billed", "draft", "change"):
                table.add_column(column, justify="left" if column == "who" else "right")
            for one in changes:
                table.add_row(one.who, f"{one.calls:,}", f"{one.old:,}", f"{one.new:,}", f"{one.new - one.old:+,}")
            console.print(table)


def _table(sums: dict[str, Any]) -> Table:
    table = Table(title="coins", title_justify="left")
    for column in ("", "billed", "draft", "change", "%"):
        table.add_column(column, justify="right" if column else "left")
    rows = [
        ("revenue", sums["paid"], sums["new_paid"]),
        ("streamer pay", sums["earned"], sums["new_earned"]),
        ("platform margin", sums["paid"] - sums["earned"], sums["new_paid"] - sums["new_earned"]),
    ]
    for side, words in (("paid", "a call pays"), ("earned", "a call earns")):
        for index, p in enumerate(("p50", "p95")):
            rows.append((f"{words}, {p}", sums[f"{side}_q"][index], sums[f"new_{side}_q"][index]))
    for words, old, new in rows:
        table.add_row(words, f"{old:,}", f"{new:,}", f"{new - old:+,}", f"{(new - old) / old * 100:+.1f}" if old else "")
    return table


def _chart(buckets: list[tuple[int, int]]) -> str:
    most = max(calls for _, calls in buckets)
    total = sum(calls for _, calls in buckets)
    lines = ["what a call costs the payer, change in %, and how many calls"]
    for bucket, calls in buckets:
        label = "the same" if bucket == 0 else f"{bucket:+d}{' or more' if bucket == 100 else ''}"
        lines.append(f"  {label:>13}  {'█' * max(1, round(BAR * calls / most)):<{BAR}} {calls:>9,}  {calls / total:5.1%}")
    return "\n".join(lines)
