"""The command line and the config: one clear line, exit code 2, the variable's name in it."""

from pathlib import Path

import pytest

from infra.config import ConfigError, load
from tests.command_line import fresh_olo, olo, without_olo
from tests.conftest import Stack

WRONG = [
    ({"OLO_HTTP_PORT": "many"}, "OLO_HTTP_PORT"),
    ({"OLO_HTTP_PORT": "99999"}, "OLO_HTTP_PORT"),
    ({"OLO_MONEY_PROCESSES": "0"}, "OLO_MONEY_PROCESSES"),
    ({"OLO_ENV": "staging"}, "OLO_ENV"),
    ({"OLO_CONFIG": "/nowhere/olo.toml"}, "OLO_CONFIG"),
    ({"OLO_CLICKHOUSE_URL": "http://[::1/x"}, "OLO_CLICKHOUSE_URL"),
    ({"OLO_PAYOUT_URL": "pay.example"}, "OLO_PAYOUT_URL"),
    ({"OLO_PUBLIC_URL": "https://olo.example:99999"}, "OLO_PUBLIC_URL"),
    ({"OLO_FCM_URL": "https://fcm example"}, "OLO_FCM_URL"),
    ({"OLO_ENV": "production", "FIREBASE_AUTH_EMULATOR_HOST": "x"}, "FIREBASE_AUTH_EMULATOR_HOST"),
]


@pytest.mark.parametrize(("environment", "named"), WRONG)
def test_a_wrong_setting_is_one_line_that_names_it(environment: dict[str, str], named: str) -> None:
    done = olo("token", "--user", "ann", environment=without_olo() | environment)
    assert done.returncode == 2
    assert named in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [("erase", "a\udcff"), ("purge", "--reason", "\udcff"), ("token", "--user", "\udcff")])
def test_bytes_that_are_no_text_are_one_line(arguments: tuple[str, ...]) -> None:
    done = olo(*arguments, environment=without_olo())
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "no text in UTF-8" in done.stderr


def test_production_makes_no_tokens_and_serving_does_not_start_with_the_emulator() -> None:
    production = without_olo() | {"OLO_ENV": "production", "OLO_FIREBASE_PROJECT": "olo-live"}
    done = olo("token", "--user", "ann", environment=production)
    assert (done.returncode, "OLO_ENV" in done.stderr) == (2, True)
    production["FIREBASE_AUTH_EMULATOR_HOST"] = "127.0.0.1:9099"
    serving = fresh_olo("--port", "1", module="serving", environment=production)
    assert serving.returncode != 0
    assert "anybody can forge a token" in serving.stderr


def test_the_file_is_read_and_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "olo.toml"
    file.write_text('http_port = 9001\nmoney_processes = 2\nbrokers = "b:9092"\nkafka_security_protocol = "SASL_SSL"\n')
    monkeypatch.setenv("OLO_CONFIG", str(file))
    monkeypatch.setenv("OLO_HTTP_PORT", "9002")
    config = load()
    assert (config.http_port, config.money_processes) == (9002, 2)
    assert config.kafka["sasl.mechanism"] == "SCRAM-SHA-256"
    file.write_text("http_port = ")
    with pytest.raises(ConfigError, match=r"olo.toml"):
        load()
    file.write_text("colour = 'red'")
    with pytest.raises(ConfigError, match="OLO_COLOUR"):
        load()


@pytest.mark.parametrize(
    ("partitions", "processes", "says"),
    [
        ("many", "1", "OLO_PARTITIONS: Input should be a valid integer"),
        ("0", "1", "OLO_PARTITIONS: Input should be greater than or equal to 1"),
        ("2.5", "1", "OLO_PARTITIONS: Input should be a valid integer"),
        ("3", "4", "OLO_LIVE_PROCESSES: of 4 processes only 3 would have work"),
    ],
)
def test_partitions_are_a_plain_number_and_enough(partitions: str, processes: str, says: str) -> None:
    given = {"OLO_PARTITIONS": partitions, "OLO_LIVE_PROCESSES": processes}
    done = olo("topics", "--create", environment=without_olo() | given)
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr


def test_a_log_with_other_partitions_is_refused(stack: Stack) -> None:
    other = without_olo() | {"OLO_BROKERS": stack.brokers, "OLO_PARTITIONS": "3"}
    done = fresh_olo("topics", "--create", environment=other)
    assert (done.returncode, "set OLO_PARTITIONS=2, or begin with a new OLO_HOME" in done.stderr) == (2, True), done.stderr
    for module, *arguments in (("pipelines.flows.host", "money"), ("serving", "--port", "0"), ("serving.view_store",)):
        ended = fresh_olo(*arguments, module=module, environment=other)
        assert (ended.returncode, "set OLO_PARTITIONS=2" in ended.stderr) == (1, True), ended.stderr


def test_doctor_names_the_command_that_mends(tmp_path: Path) -> None:
    done = olo("doctor", environment=without_olo() | {"OLO_HOME": str(tmp_path), "OLO_HTTP_PORT": "1"})
    assert done.returncode == 2
    assert "mend: make up" in done.stdout


def test_doctor_is_content_with_a_running_platform(stack: Stack) -> None:
    done = stack.olo("doctor", OLO_HTTP_PORT=stack.http.rpartition(":")[2])
    # Other tests kill processes of this platform, which doctor sees.
    assert not [line for line in done.stdout.splitlines() if line.startswith("no ") and "restarts" not in line], done.stdout


def test_topics_shows_the_map(stack: Stack) -> None:
    shown = stack.olo("topics").stdout
    for word in ("account.inbox", "EntryRecorded", "feed", "dead_letters"):
        assert word in shown
    assert "nothing, all were there" in stack.olo("topics", "--create").stdout


def test_help_knows_every_command() -> None:
    shown = fresh_olo("--help", environment=without_olo()).stdout
    for command in ("up", "token", "doctor", "topics", "dead-letters", "schemas"):
        assert command in shown
