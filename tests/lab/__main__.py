"""`python -m tests.lab COMMAND`: cities and proofs. `olo up --city`, `olo city` and `olo prove` start these commands."""

import json
import signal
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from infra.cli import fail, main
from infra.config import load
from infra.endpoints import endpoints_of

app = typer.Typer(no_args_is_help=True, add_completion=False, help="What tries the platform: cities and proofs.")
prove_app = typer.Typer(no_args_is_help=True, help="Proofs on a platform of their own.")
app.add_typer(prove_app, name="prove")
# An app tries again when it is told to (503) or hears nothing; a phone of the city gives up, and says so, after this.
PATIENCE_S: Final = 10.0
console = Console(highlight=False)


@app.command()
def city(
    people: Annotated[int, typer.Option(help="how many phones", min=2, max=5_000)] = 200,
    minutes: Annotated[float, typer.Option(help="for how long; 0: until Ctrl-C", min=0)] = 0,
    seed: Annotated[int, typer.Option(help="which people they are")] = 1,
    patience: Annotated[
        float, typer.Option(help="a phone gives up what has no answer after so many seconds", envvar="CITY_PATIENCE_S")
    ] = PATIENCE_S,
) -> None:
    """Synthetic phones on the platform that runs here: a live table, and at the end whether every coin is accounted for."""
    from tests.lab.city.town import Plan
    from tests.lab.city.town import main as live

    config = load()
    running = endpoints_of(config.home)
    if not running:
        fail("nothing runs here; start the platform with `make up`, or both with `olo up --city 200`")
    if live(running["http"], config, Plan(people, minutes, seed, patience), console):
        raise SystemExit(1)


@app.command()
def vendors(
    port: Annotated[int, typer.Argument(help="serve there; without one: print the settings that lead there")] = 0,
) -> None:
    """Stand-ins for Snapchat, AppsFlyer, Amplitude, GA4 and all who push on the loopback, until they are ended."""
    from tests.lab.city.vendors import AdVendors, environment, serve

    keys = load().home.absolute() / "stand-ins"
    if not port:
        print(json.dumps(environment("{url}", keys)))
        return
    serve(AdVendors(), port, keys).serve_forever()


@app.command()
def pushes(
    port: Annotated[int, typer.Argument(help="Google and OneSignal are served there, Apple one higher")] = 8181,
    folder: Annotated[Path, typer.Option(help="where the keys for them are put")] = Path("stand-ins"),
) -> None:
    """Stand-ins for FCM, OneSignal and Apple's push service on the loopback: the settings that lead there, then each push."""
    from tests.lab.city.apple import StandIns

    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    stand_ins = StandIns(folder, port, lambda pushed: print(json.dumps(pushed._asdict(), ensure_ascii=False), flush=True))
    print("\n".join(f"export {name}={value}" for name, value in stand_ins.environment.items()), flush=True)
    with suppress(KeyboardInterrupt):
        signal.pause()
    stand_ins.close()


@prove_app.command()
def money(
    kills: Annotated[int, typer.Option(help="kill -9 so many times; the broker is killed once more")] = 18,
    clients: Annotated[int, typer.Option(help="HTTP clients at once")] = 24,
    seed: Annotated[int, typer.Option(help="which processes are killed when")] = 1,
    outage: Annotated[float, typer.Option(help="for so many seconds all flows stand still, in the middle of calls")] = 120,
) -> None:
    """Kill money, live, store, serving and broker at random under load and calls, then audit everything to the coin."""
    from tests.lab.proofs.money import Plan, prove

    if prove(Plan(kills=kills, clients=clients, seed=seed, outage_s=outage), lambda line: console.print(line, soft_wrap=True)):
        raise SystemExit(1)


@prove_app.command()
def talk(
    kills: Annotated[int, typer.Option(help="kill -9 so many times: live, dispatch, serving, one behind the other")] = 15,
    people: Annotated[int, typer.Option(help="so many phones are open", min=4)] = 8,
    seed: Annotated[int, typer.Option(help="who does what, and when somebody is killed")] = 1,
) -> None:
    """Kill live, dispatch and serving while messages flow and vendors stumble: nothing is lost, doubled or reordered."""
    from tests.lab.proofs.talk import Plan, prove

    if prove(Plan(kills=kills, people=people, seed=seed), lambda line: console.print(line, soft_wrap=True)):
        raise SystemExit(1)


@prove_app.command()
def overload(
    loops: Annotated[int, typer.Option(help="busy loops beside the platform", min=1)] = 40,
    people: Annotated[int, typer.Option(help="phones of the city", min=2)] = 100,
    seconds: Annotated[float, typer.Option(help="how long the loops last", min=1)] = 120,
    recover: Annotated[float, typer.Option(help="behind them all is as before within so many seconds", min=1)] = 10,
) -> None:
    """Busy loops beside a city: nothing ends, nothing is lost, what is late is put off; then all is as before."""
    from tests.lab.proofs.overload import Plan, prove

    plan = Plan(loops=loops, people=people, seconds=seconds, recover_s=recover)
    if prove(plan, lambda line: console.print(line, soft_wrap=True)):
        raise SystemExit(1)


@prove_app.command()
def door(
    seconds: Annotated[float, typer.Option(help="how long each attack lasts", min=0.1)] = 5,
    slow: Annotated[float, typer.Option(help="heads and bodies may take so many seconds (OLO_HEAD_S, OLO_BODY_S)", min=1)] = 10,
    attack: Annotated[list[str] | None, typer.Option(help="only these attacks; may be given several times")] = None,
) -> None:
    """A paid call beside an attacker: it goes on, all are answered in time, what is opened is let go of."""
    from tests.lab.proofs.attacker import ATTACKS
    from tests.lab.proofs.door import Plan, prove

    if unknown := set(attack or ()) - ATTACKS.keys():
        fail(f"there are no attacks {', '.join(sorted(unknown))}; there are {', '.join(ATTACKS)}")
    plan = Plan(seconds=seconds, attacks=tuple(attack or ATTACKS), slow_s=slow)
    if prove(plan, lambda line: console.print(line, soft_wrap=True)):
        raise SystemExit(1)


@prove_app.command()
def brokers(
    kills: Annotated[int, typer.Option(help="kill -9 so many brokers, one behind the other", min=0)] = 4,
    restarts: Annotated[int, typer.Option(help="restart all three so often, one behind the other", min=0)] = 2,
    freeze: Annotated[float, typer.Option(help="one broker stands still for so many seconds; 0: none does", min=0)] = 30,
    clients: Annotated[int, typer.Option(help="HTTP clients at once", min=1)] = 12,
    seed: Annotated[int, typer.Option(help="who the clients are and what they ask for")] = 1,
) -> None:
    """Three brokers, three copies: kill, restart and freeze brokers under load, then audit everything to the coin."""
    from tests.lab.proofs.brokers import Plan, prove

    plan = Plan(kills=kills, restarts=restarts, freeze_s=freeze, clients=clients, seed=seed)
    if prove(plan, lambda line: console.print(line, soft_wrap=True)):
        raise SystemExit(1)


@prove_app.command()
def poison(
    rounds: Annotated[int, typer.Option(help="so often all of it is written", min=1, max=5)] = 3,
    seconds: Annotated[float, typer.Option(help="apart, and nothing is written for so long before", min=1)] = 15,
    replays: Annotated[bool, typer.Option("--replay/--no-replay", help="decide all inboxes once more at the end")] = True,
    seed: Annotated[int, typer.Option(help="who the clients are and what they ask for")] = 1,
) -> None:
    """Poisoned records of every kind for every entity: one of each waits or is put aside, all others go on as usual."""
    from tests.lab.proofs.poison import Plan, prove

    if prove(Plan(rounds, seconds, replays, seed), lambda line: console.print(line, soft_wrap=True)):
        raise SystemExit(1)


@prove_app.command()
def erasure(
    people: Annotated[int, typer.Option(help="phones of the city", min=2)] = 20,
    seconds: Annotated[float, typer.Option(help="how long the city lives", min=1)] = 30,
) -> None:
    """Erase somebody while a city lives: the books close, and behind retention no byte on disk has anything of them."""
    from tests.lab.proofs.erasure import Plan, prove

    if prove(Plan(people=people, seconds=seconds), lambda line: console.print(line, soft_wrap=True)):
        raise SystemExit(1)


@prove_app.command()
def replay(
    processes: Annotated[int, typer.Option(help="partitions that are decided side by side", min=1)] = 2,
) -> None:
    """Decide all recorded inboxes again, on the platform that runs or has run here, and compare with what was written."""
    from tests.lab.proofs.replay import prove

    if prove(load(), processes, lambda line: console.print(line, soft_wrap=True)):
        raise SystemExit(1)


if __name__ == "__main__":
    main(app)
