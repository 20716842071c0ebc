"""Grafana's dashboards and Prometheus' alert rules, read as files: every metric, label and table in them is there."""

import json
import re
from importlib import import_module
from typing import Any, Final

import pytest
from prometheus_client import REGISTRY

from infra.endpoints import scraped
from schemas.tables import TABLES, VIEWS
from tests.front import Front, code
from tests.lab import reference
from tests.sources import ROOT

DEPLOY: Final = ROOT / "infra" / "deploy"
yaml: Any = import_module("yaml")
RULES: Final = [rule for group in yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
BOARDS: Final = {file.stem: json.loads(file.read_text()) for file in sorted((ROOT / "dashboards").glob("*.json"))}
TARGETS: Final = [
    (name, panel, target) for name, board in BOARDS.items() for panel in board["panels"] for target in panel["targets"]
]
QUERIES: Final = [
    *((f"{name}: {panel['title']}", target["expr"]) for name, panel, target in TARGETS if "expr" in target),
    *((rule["alert"], rule["expr"]) for rule in RULES),
]
# What Prometheus says of each target by itself, and the labels that it and its service discovery add.
OF_PROMETHEUS: Final = {"up": {"job", "instance"}}
OF_TARGETS: Final = {"job", "instance", "role", "process"}
WORDS: Final = {"by", "without", "and", "or", "unless", "on", "ignoring", "offset", "bool", "group_left", "group_right"}


def exposed() -> dict[str, set[str]]:
    """Every series that some process tells, with its labels."""
    assert reference.page("metrics.md"), "with this page all modules that have metrics are loaded"
    found: dict[str, set[str]] = dict(OF_PROMETHEUS)
    for collector, names in REGISTRY._collector_to_names.items():
        labels, kind = set(getattr(collector, "_labelnames", ())), getattr(collector, "_type", "")
        for name in (name for name in names if kind != "counter" or name.endswith("_total")):
            found[name] = labels | ({"le"} if name.endswith("_bucket") else set())
    return found


EXPOSED: Final = exposed()


def asked(query: str) -> tuple[set[str], set[str]]:
    """The series and the labels that a query names."""
    plain = re.sub(r'"[^"]*"', '""', query)
    labels = {label for inside in re.findall(r"\{([^}]*)\}", plain) for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside)}
    for inside in re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", plain):
        labels |= set(re.findall(r"\w+", inside))
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|without|on|ignoring)\s*\([^)]*\)", " ", plain)
    names = {name for name in re.findall(r"[a-zA-Z_:][\w:]*(?!\s*\()\b", bare) if not re.search(rf"\b{name}\s*\(", bare)}
    return names - WORDS, labels


@pytest.mark.parametrize(("where", "query"), QUERIES, ids=[where for where, _ in QUERIES])
def test_every_metric_and_label_is_there(where: str, query: str) -> None:
    names, labels = asked(query)
    assert names, f"{where} asks for nothing: {query}"
    assert names <= EXPOSED.keys(), f"{where}: nobody tells {sorted(names - EXPOSED.keys())}; see docs/reference/metrics.md"
    known = OF_TARGETS.union(*(EXPOSED[name] for name in names))
    assert labels <= known, f"{where}: {sorted(names)} have no label {sorted(labels - known)}"


def test_a_metric_or_a_label_that_is_not_there_is_seen() -> None:
    assert asked('sum by (flow, le) (rate(olo_a_bucket{x=~"y.*"}[5m])) / max(olo_b) > 1') == (
        {"olo_a_bucket", "olo_b"},
        {"flow", "le", "x"},
    )
    assert "olo_decided" not in EXPOSED, "a counter ends with _total"


def test_every_table_that_a_dashboard_asks_is_there() -> None:
    asked_for = {table for *_, target in TARGETS for table in re.findall(r"\bFROM (\w+)", target.get("rawSql", ""))}
    assert asked_for
    assert asked_for <= {*TABLES, *VIEWS}


def test_boards_are_whole() -> None:
    assert {"flows", "serving", "money", "vendors"} <= BOARDS.keys()
    assert len({board["uid"] for board in BOARDS.values()}) == len(BOARDS)
    for name, board in BOARDS.items():
        ids = [panel["id"] for panel in board["panels"]]
        assert len(set(ids)) == len(ids), name
        boxes = [panel["gridPos"] for panel in board["panels"]]
        assert all(box["x"] + box["w"] <= 24 for box in boxes), name
        cells = [(box["x"] + x, box["y"] + y) for box in boxes for x in range(box["w"]) for y in range(box["h"])]
        assert len(set(cells)) == len(cells), f"{name}: panels lie upon each other"


def test_rules_say_what_is_wrong_and_how_bad_it_is() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]


def test_what_compose_mounts_is_there_and_each_board_is_among_it() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    mounted = [volume.split(":")[0] for name in ("prometheus", "grafana") for volume in services[name]["volumes"]]
    files = [(DEPLOY / volume).resolve() for volume in mounted if volume.startswith(".")]
    assert [file for file in files if not file.is_file()] == []
    assert {file.stem for file in files if file.parent.name == "dashboards"} == BOARDS.keys()
    for name in ("datasources", "dashboards"):
        assert yaml.safe_load((DEPLOY / "grafana" / f"{name}.yml").read_text())["apiVersion"] == 1
    (job,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    assert job["job_name"] == "olo"


def test_prometheus_is_told_where_the_processes_are() -> None:
    children = [
        {"role": "broker", "url": "127.0.0.1:9092"}, {"role": "warehouse", "url": "http://127.0.0.1:5"},
        {"role": "money-0", "url": "http://127.0.0.1:1/metrics"}, {"role": "views", "url": "http://127.0.0.1:2/metrics"},
        {"role": "serving-0", "url": "http://0.0.0.0:8080"},
    ]  # fmt: skip
    assert [(one["targets"], one["labels"]["process"]) for one in scraped(children)] == [
        (["127.0.0.1:1"], "money"), (["127.0.0.1:2"], "views"), (["127.0.0.1:8080"], "serving"),
    ]  # fmt: skip
    front = Front()
    assert front.ask("GET", "/metrics/targets", address="127.0.0.1").json() == []
    assert code(front.ask("GET", "/metrics/targets")) == (401, "token_missing")
