"""The `olo` command line. Errors are one line on stderr and exit code 2."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from clickhouse_connect.driver.exceptions import Error as ClickHouseError
from confluent_kafka import KafkaException
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infra import dead_letters, erasure, outbox, tokens
from infra.acts import Reason, noted
from infra.cli_ads import attribution_app, connected, postbacks_app, warehouse
from infra.cli_jobs import jobs_app
from infra.cli_payments import payments_app
from infra.cli_payouts import payouts_app
from infra.config import POSTBACKS_NEED, ConfigError, Environment, load, missing_for
from infra.doctor import report
from infra.endpoints import config_here
from infra.errors import NO_ANSWER, UsageError
from infra.laboratory import laboratory
from infra.machine import allow_open_files, user_here
from infra.platform import Platform, PlatformError
from infra.purge import PATIENCE_S
from infra.purge import purge as take_out
from infra.topics import create_topics
from schemas.log.dead_letters import PARKING
from schemas.log.export import documents, problems
from schemas.log.outward import outward
from schemas.log.topics import SUBSCRIPTIONS, topics
from schemas.outbox import EffectStatus

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Olo: a live video-chat back end as a stream of events.")
letters_app = typer.Typer(no_args_is_help=True, help="Records that no decider could take.")
tariff_app = typer.Typer(no_args_is_help=True, help="Prices, before they are published.")
outbox_app = typer.Typer(no_args_is_help=True, help="What is owed to vendors.")
schemas_app = typer.Typer(no_args_is_help=True, help="The schemas for others.")
app.add_typer(letters_app, name="dead-letters")
app.add_typer(outbox_app, name="outbox")
app.add_typer(tariff_app, name="tariff")
app.add_typer(schemas_app, name="schemas")
app.add_typer(postbacks_app, name="postbacks")
app.add_typer(attribution_app, name="attribution")
app.add_typer(jobs_app, name="jobs")
app.add_typer(payments_app, name="payments")
app.add_typer(payouts_app, name="payouts")
EXPORTED: Final = Path(__file__).parent.parent / "schemas" / "exported"
Place = Annotated[str, typer.Argument(help="<topic>/<partition>/<offset>")]
# The laboratory's commands know their own options.
ANYTHING: Final = {"allow_extra_args": True, "ignore_unknown_options": True}
console = Console(highlight=False)


def fail(text: str) -> NoReturn:
    """One line on stderr, exit code 2."""
    print(f"olo: {text}", file=sys.stderr)
    raise SystemExit(2)


@app.command()
def up(
    city: Annotated[int, typer.Option(help="so many synthetic phones live on it", min=0, max=5_000)] = 0,
    minutes: Annotated[float, typer.Option(help="the city's time, then everything stops; 0: until Ctrl-C", min=0)] = 0,
) -> None:
    """Start the whole platform here, and keep it alive until Ctrl-C."""
    config = load()
    if city and config.env is Environment.PRODUCTION:
        fail("OLO_ENV: the city's phones have development tokens; production takes none of them")
    living = laboratory("city", "--people", city, "--minutes", minutes) if city else None
    # Whoever has set keys of real vendors wants to see those, not stand-ins.
    stand_ins = bool(city) and not any(missing_for(name, config) == [] for name in POSTBACKS_NEED)
    if Platform(config, console, stand_ins=laboratory("vendors") if stand_ins else None).up(living):
        raise SystemExit(1)


@app.command(context_settings=ANYTHING, add_help_option=False)
def city(arguments: typer.Context) -> None:
    """Synthetic phones on the platform that runs here (of the laboratory: in a checkout only)."""
    _run_in_laboratory("city", *arguments.args)


@app.command(context_settings=ANYTHING, add_help_option=False)
def prove(arguments: typer.Context) -> None:
    """Proofs on a platform of their own, such as `olo prove money` (of the laboratory: in a checkout only)."""
    _run_in_laboratory("prove", *arguments.args)


@app.command()
def rebuild(
    entity: Annotated[str, typer.Argument(help="whose changelog was lost, such as account")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would be written")] = False,
) -> None:
    """Make a lost changelog again from its inbox, while no flow runs; refused unless that leads to the facts that are there."""
    command = [sys.executable, "-m", "pipelines.flows.rebuild", entity, *["--dry-run"] * dry_run]
    with Platform(load(), console).foundation() as environment:
        raise SystemExit(subprocess.run(command, env=os.environ | environment, check=False).returncode)


def _run_in_laboratory(*arguments: str) -> NoReturn:
    """Become the laboratory's process: its output, its signals and its exit code are those of this command."""
    command = laboratory(*arguments)
    os.execv(command[0], command)  # noqa: S606 - our own interpreter with a fixed module


@app.command()
def token(
    user: Annotated[str, typer.Option(help="the user's id")],
    role: Annotated[str, typer.Option(help="user, streamer, agency, support or admin")] = "user",
    hours: Annotated[int, typer.Option(help="how long it is valid")] = 24,
) -> None:
    """Make a development token (an unsigned Firebase ID token)."""
    config = load()
    if config.env is Environment.PRODUCTION:
        fail("OLO_ENV: production takes only tokens that Firebase has signed")
    print(tokens.token(config.firebase_project, user, role, lives_s=hours * 3600))


@app.command()
def doctor() -> None:
    """Look at everything that Olo needs; each problem comes with the command that mends it."""
    wrong = report(config_here(), console.print)
    if wrong:
        fail(f"{wrong} problem(s); the commands above mend them")
    console.print("all is well")


@app.command()
def quality(
    days: Annotated[int, typer.Option(help="the rows of so many days", min=1, max=3_650)] = 30,
) -> None:
    """Hold the warehouse's main tables against their expectations; exit code 1 when one does not hold."""
    from infra.quality_report import show

    if show(warehouse(), days, console):
        raise SystemExit(1)


@app.command(name="topics")
def show_topics(
    create: Annotated[bool, typer.Option("--create", help="create the topics that the broker lacks")] = False,
) -> None:
    """The map of the log: every topic, its key, what it carries, and who else hears its facts."""
    if create:
        made = create_topics(connected(), topics())
        console.print(f"created: {', '.join(made) or 'nothing, all were there'}")
        return
    table = Table("topic", "key", "partitions", "kept", "messages", "also goes to")
    for topic in topics():
        heard = [
            f"{s.fact.__name__} -> {s.topic}"
            for s in SUBSCRIPTIONS
            if topic.name.endswith(".events") and s.fact in topic.messages
        ]
        names = ", ".join(message.__name__ for message in topic.messages)
        table.add_row(topic.name, topic.key, str(topic.partitions), topic.kept, names, "\n".join(heard))
    console.print(table)


@app.command()
def erase(
    user: Annotated[str, typer.Argument(help="the user's id")],
    reason: Annotated[str, typer.Option(help="why; it is kept with your name")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say where something of the user's stands")] = False,
) -> None:
    """Forget who a user is, for good: see docs/erasure.md for what goes, what stays and when. Once more changes nothing."""
    config = connected()
    if (since := erasure.erased_at(config, user)) is not None:
        console.print(f"{user} was erased at {since:%Y-%m-%d %H:%M:%S} UTC; nothing is done", markup=False)
        return
    table = Table("where", "key", "what is personal")
    for known in erasure.known_of(config, user):
        table.add_row(*map(escape, known))
    console.print(table if table.row_count else "nothing is known but the sign-up")
    if not dry_run:
        with noted(config, "erase", why=reason, subjects=(user,)):
            erasure.erase(config, user, user_here(), reason)
        console.print(f"{user} is erased; what the log still holds goes as docs/erasure.md says", markup=False)


@app.command()
def purge(reason: Reason = "") -> None:
    """Take out of the warehouse what is personal in rows that an earlier Olo stored. Once more changes nothing."""
    with warehouse(PATIENCE_S) as client, noted(connected(), "purge", why=reason):
        found = take_out(client)
    for topic, rows in found.items():
        print(f"{topic}: {rows} rows")
    print(
        "nothing personal is in the warehouse"
        if not found
        else "taken out; ClickHouse deletes the old files within ten minutes"
    )


@letters_app.command(name="list")
def list_letters() -> None:
    """All dead letters that nobody has settled, oldest first."""
    table = Table("place", "at", "cause", "message", "error")
    for letter in dead_letters.letters(connected()):
        table.add_row(letter.id, f"{letter.at:%Y-%m-%d %H:%M:%S}", letter.cause, letter.kind, escape(letter.error))
    console.print(table if table.row_count else "no dead letters")


@letters_app.command()
def show(
    place: Annotated[str, typer.Argument(help="<topic>/<partition>/<offset>")],
    personal: Annotated[bool, typer.Option("--personal", help="with what is personal: the bytes as they came")] = False,
) -> None:
    """One dead letter, without what is personal in it; of a parked entity, what a redrive would decide."""
    config = connected()
    letter = dead_letters.find(config, place)
    # Their bytes come from anywhere, and may look like the console's own marks.
    console.print(f"{letter.cause}: {letter.error}", markup=False)
    console.print(f"key   {letter.key!r}", markup=False)
    value = letter.value if personal else outward(letter.topic, letter.value)
    console.print(f"value {value!r}", markup=False)
    if letter.cause in PARKING:
        command = [sys.executable, "-m", "pipelines.flows.preview", letter.topic, str(letter.partition), letter.key.decode()]
        subprocess.run(command, env=os.environ | {"OLO_BROKERS": config.brokers, "OLO_HOME": str(config.home)}, check=False)


@letters_app.command()
def redrive(
    place: Annotated[str, typer.Argument(help="<topic>/<partition>/<offset>")] = "",
    everything: Annotated[bool, typer.Option("--all", help="all parked entities")] = False,
    reason: Reason = "",
) -> None:
    """Decide once more what waits for a parked entity, or another letter's record, after the cause was mended."""
    if everything == bool(place):
        raise UsageError("name a place, as `olo dead-letters list` shows it, or say --all")
    config = connected()
    with noted(config, "dead-letters redrive", place or "--all", reason):
        told = dead_letters.redrive_all(config) if everything else [dead_letters.redrive(config, place)]
    for line in told or ["nobody is parked"]:
        console.print(line, markup=False)


@letters_app.command()
def skip(place: Place, reason: Reason = "") -> None:
    """Leave out the record that a parked entity waits for, and go on behind it; or put aside one that stops a whole flow."""
    config = connected()
    with noted(config, "dead-letters skip", place, reason):
        console.print(dead_letters.skip(config, place), markup=False)


@letters_app.command()
def drop(place: Place, reason: Reason = "") -> None:
    """Leave out all that waits for a parked entity, or take another letter off the list."""
    config = connected()
    with noted(config, "dead-letters drop", place, reason):
        console.print(dead_letters.drop(config, place), markup=False)


@outbox_app.command(name="list")
def list_effects(
    everything: Annotated[bool, typer.Option("--all", help="also those that were accepted")] = False,
) -> None:
    """Effects that wait, were refused or came too late."""
    table = Table("effect", "vendor", "stands", "attempts", "HTTP", "why")
    for name, effect in sorted(outbox.effects(connected())):
        if everything or effect.status is not EffectStatus.ACCEPTED:
            table.add_row(
                name, effect.provider, effect.status, str(effect.attempt), str(effect.http_status or ""), effect.detail[:80]
            )
    console.print(table if table.row_count else "nothing is owed")


@outbox_app.command(name="show")
def show_effect(effect: Annotated[str, typer.Argument(help="an effect's id, as `list` shows it")]) -> None:
    """One effect, with the vendor's last words, and without what else is personal."""
    console.print_json(data=outbox.shown(outbox.find(connected(), effect)))


@outbox_app.command(name="redrive")
def redrive_effect(
    effect: Annotated[str, typer.Argument(help="a refused or expired effect's id")], reason: Reason = ""
) -> None:
    """Have it tried again, for a day, after the cause was mended."""
    config = connected()
    with noted(config, "outbox redrive", effect, reason):
        outbox.redrive(config, effect, user_here())
    console.print(f"{effect} is tried again; see `olo outbox show {effect}`")


@tariff_app.command(name="backtest")
def backtest_tariff(
    draft: Annotated[
        Path, typer.Argument(help="a JSON file: tariff, rule, payer, earner, as PUT /v1/admin/tariffs takes them")
    ],
    days: Annotated[int, typer.Option(help="the calls of so many days", min=1, max=3_650)] = 30,
) -> None:
    """What past calls would have cost and paid under a draft; who gains and loses most."""
    from infra.backtest import backtest, read_draft
    from infra.backtest_report import show

    found = read_draft(draft)
    show(found, backtest(warehouse(), found, days), days, console)


@schemas_app.command()
def export(
    force: Annotated[bool, typer.Option("--force", help="write even what breaks readers of the old schemas")] = False,
) -> None:
    """Write JSON Schema and AsyncAPI into schemas/exported; refuses a change that is not backward compatible."""
    new = documents()
    old = {file.name: json.loads(file.read_text()) for file in EXPORTED.glob("*.json")}
    broken = problems(old, new)
    if broken and not force:
        fail("not backward compatible: " + "; ".join(broken))
    EXPORTED.mkdir(exist_ok=True)
    for name in old.keys() - new.keys():
        (EXPORTED / name).unlink()
    for name, document in new.items():
        (EXPORTED / name).write_text(json.dumps(document, indent=1) + "\n")
    console.print(f"{len(new)} documents in {EXPORTED}")


def _read_arguments() -> None:
    """Errors: UsageError for bytes that are no text, which neither the log nor a person could be told."""
    for number, argument in enumerate(sys.argv[1:], 1):
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise UsageError(f"argument {number} is no text in UTF-8: {argument!r}") from None


def main(commands: typer.Typer = app) -> None:
    """The entry point: known errors are one line, exit code 2."""
    allow_open_files()
    try:
        _read_arguments()
        commands()
    except (ConfigError, PlatformError, UsageError) as error:
        fail(" ".join(str(error).split()))
    except ClickHouseError as error:
        fail(f"the warehouse does not do that: {' '.join(str(error).split())[:300]}; see `olo doctor`")
    except (KafkaException, TimeoutError) as error:
        fail(f"the broker does not do that: {str(error) or NO_ANSWER}; see `olo doctor`")


if __name__ == "__main__":
    main()
