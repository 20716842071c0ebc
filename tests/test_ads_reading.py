"""AppsFlyer's pushes as they are read, by table and Hypothesis: what cannot be read costs the field, never the push."""

import json
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.vendors.appsflyer import Push, PushError, read_push
from schemas.ads import RecordPush, Touch, network_of
from schemas.names import MAX_NAME, known, name_of
from schemas.panel import All, Attribute, Is, Not, Some, in_form

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
BARE = {"appsflyer_id": "af-1", "event_name": "install", "event_time": "2026-11-26 11:59:00.000"}


def touch_of(**fields: Any) -> Touch:
    touch = read_push(BARE | fields, NOW).touch
    assert touch is not None
    return touch


def recorded(push: Push) -> RecordPush:
    """What goes into the log, as a decider reads it."""
    command = RecordPush(
        id="r", at=push.at, install=push.install, push=push.name, event_name=push.event_name, touch=push.touch,
        details=push.details, unread=push.unread,
    )  # fmt: skip
    return msgspec.json.decode(msgspec.json.encode(command), type=RecordPush)


def recorded_of(**fields: Any) -> RecordPush:
    return recorded(read_push(json.loads(json.dumps(BARE | fields)), NOW))


# --- networks ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "network"),
    [
        ({}, "organic"),
        ({"media_source": None}, "organic"),
        ({"media_source": "Organic"}, "organic"),
        ({"media_source": "organic", "campaign": "C", "af_prt": "x"}, "organic"),
        ({"media_source": None, "af_prt": "agencyx", "campaign": "C13"}, "agencyx"),
        ({"media_source": "null", "af_prt": "agencyx"}, "agencyx"),
        ({"media_source": "tiktok", "af_prt": "agencyx"}, "tiktok"),
        ({"media_source": None, "campaign": "C13"}, "unknown"),
        ({"media_source": "None", "af_c_id": "7"}, "unknown"),
        ({"media_source": "null", "campaign": "null"}, "organic"),
        ({"attributed_touch_type": "click"}, "unknown"),
        ({"event_name": "re-engagement"}, "unknown"),
        ({"event_name": "reinstall"}, "organic"),
        ({"media_source": "N/A"}, "organic"),
        ({"media_source": {"a": 1}}, "organic"),
        ({"media_source": "\xa0Facebook\u2007 Ads\u200b"}, "Facebook Ads"),
        ({"media_source": "SNAPCHAT_INT"}, "snapchat"),
    ],
)  # fmt: skip
def test_who_was_paid(fields: dict[str, Any], network: str) -> None:
    assert touch_of(**fields).network == network


@pytest.mark.parametrize("name", ["null", "None", "NULL", "undefined", " n/a ", "", "\xa0", "-"])
def test_what_programs_write_where_nothing_is_names_no_network_user_or_phone(name: str) -> None:
    assert network_of(name) == "organic"
    assert read_push(BARE | {"customer_user_id": name}, NOW).user == ""
    with pytest.raises(PushError, match="appsflyer_id is missing"):
        read_push(BARE | {"appsflyer_id": name}, NOW)


# --- times ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["2200-01-01 00:00:00.000", "2500-01-01 00:00:00", "0001-01-01 00:00:00.000", "0001-01-01T00:00:00+14:00", "1974-01-01",
     "9999-12-31T23:59:59-14:00", "2026-11-26 13:00:00.000", "2026-08-01 00:00:00", "yesterday", "N/A"],
)  # fmt: skip
def test_an_install_time_that_cannot_be_is_the_events(text: str) -> None:
    push = read_push(BARE | {"install_time": text}, NOW)
    assert push.touch is not None
    assert (push.touch.at, push.unread) == (push.at, ("install_time",))
    with pytest.raises(PushError):
        read_push(BARE | {"event_time": text}, NOW)


def test_an_install_time_before_the_event_is_the_installs_and_nothing_is_later_than_now() -> None:
    assert touch_of(install_time="2026-11-20 10:00:00.000").at == datetime(2026, 11, 20, 10, tzinfo=UTC)
    ahead = dict.fromkeys(("event_time", "install_time", "attributed_touch_time"), "2026-11-26 12:09:00")
    push = read_push(BARE | ahead, NOW)
    assert push.touch is not None
    assert (push.at, push.touch.at, push.touch.touched_at) == (NOW, NOW, NOW)


@pytest.mark.parametrize("value", ["N/A", "soon", "1974-01-01", "2200-01-01", 17, ["2026-11-26"], {"at": 1}, True])
def test_an_optional_field_never_costs_the_install(value: Any) -> None:
    push = read_push(BARE | {"attributed_touch_time": value, "campaign": "C"}, NOW)
    assert push.touch is not None
    assert (push.touch.campaign, push.touch.touched_at, push.unread) == ("C", None, ("attributed_touch_time",))


FIELDS = ("media_source", "campaign", "af_prt", "install_time", "attributed_touch_time", "event_value", "customer_user_id")
texts = st.text(st.characters(codec="utf-8"), max_size=400)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(FIELDS), values))
def test_whatever_stands_in_optional_fields_the_push_is_one_that_a_decider_reads(fields: dict[str, Any]) -> None:
    push = recorded(read_push(BARE | fields, NOW))
    assert push.touch is not None
    assert NOW - timedelta(days=90) <= push.touch.at <= NOW
    assert push.touch.touched_at is None or NOW - timedelta(days=120) <= push.touch.touched_at <= NOW


# --- sizes ------------------------------------------------------------------------------------------------------------------

LARGE = [
    [1] * 30_000,
    {"af_revenue": 7, "a": "ц" * 30_000},
    "ц" * 30_000,
    "1" * 30_000,
    "🦉" * 16_000,
    "[" * 30_000,
    [1e9] * 9_000,
]


@pytest.mark.parametrize("value", LARGE, ids=range(len(LARGE)))
def test_a_large_value_costs_nothing(value: Any) -> None:
    push = recorded_of(event_value=value)
    assert (push.unread, push.touch is not None) == ((), True)
    assert push.details.revenue == ("7" if isinstance(value, dict) else "")
    assert len(msgspec.json.encode(push)) < 2_000


# --- names ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Autumn", "Autumn"),
        ("  Autumn\xa0\u20092026\t", "Autumn 2026"),
        ("Au\u200btumn\x00", "Autumn"),
        ("Cafe\u0301", "Café"),
        ("null", "null"),
        ("=HYPERLINK(1)", "=HYPERLINK(1)"),
        ("x" * MAX_NAME, "x" * MAX_NAME),
    ],
)
def test_one_form_of_a_name(text: str, name: str) -> None:
    assert name_of(text) == name
    assert touch_of(campaign=text).campaign == name


def test_a_name_that_is_too_long_is_cut_and_stays_itself() -> None:
    one, other = touch_of(campaign="ж" * 300 + "1").campaign, touch_of(campaign="ж" * 300 + "2").campaign
    assert one != other
    assert len(one) == len(other) == MAX_NAME
    assert one.startswith("ж" * 200)
    assert one[-13] == "~"
    assert one == name_of(" " + "ж" * 300 + "1")


@given(texts)
def test_the_form_of_a_form_is_the_form(text: str) -> None:
    name = name_of(text)
    assert name_of(name) == name
    assert len(name) <= MAX_NAME
    assert name.isprintable()
    assert name_of(text.replace(" ", "\xa0")) == name
    assert name_of(unicodedata.normalize("NFD", name)) == name or len(name) == MAX_NAME
    assert known(text) in (name, "")


def test_the_rules_of_cohorts_name_networks_and_campaigns_as_touches_do() -> None:
    de, named = Is(Attribute.COUNTRY, ("DE\xa0",)), Is(Attribute.CAMPAIGN, ("Black\xa0Friday", "Black Friday"))
    rule = in_form(All((de, Some((named, Not(Is(Attribute.NETWORK, ("snapchat_int",))))))))
    right = Is(Attribute.CAMPAIGN, ("Black Friday",))
    assert rule == All((de, Some((right, Not(Is(Attribute.NETWORK, ("snapchat",)))))))
