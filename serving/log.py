"""The log for staff: `GET /v1/admin/log/topics`, its records, newest first, and what came of one.

Records come from the warehouse, which has them within a second or two, and without what is personal (`schemas/log/outward.py`);
states are not there. A look reads the records of a span of time, and ends when it takes longer than some seconds.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field

from schemas.log.base import now
from schemas.log.topics import SUBSCRIPTIONS, topics
from serving.log_tree import Placed, roots_of, tree_of
from serving.runtime.fields import Word
from serving.runtime.problems import Problem, responses
from serving.runtime.staff import LogLook
from serving.runtime.warehouse import rows_of

router = APIRouter(tags=["log"])

MAX_RECORDS: Final = 500
# Of a record's JSON a list shows so many characters.
SHOWN: Final = 500
# A message and all that comes of it is looked for in so much time around it, and so many records of it are shown.
AROUND: Final = timedelta(days=1)
MAX_TREE: Final = 500

ACTIVITY: Final = """SELECT topic, count() AS records, max(logged_at) AS last_at FROM log
WHERE logged_at >= now() - toIntervalHour(1) GROUP BY topic SETTINGS max_execution_time = 10"""
RECORDS: Final = """SELECT topic, partition, offset, key, type, at, logged_at, substringUTF8(value, 1, {shown:UInt32}) AS json,
    length(value) AS size_bytes
FROM log
WHERE logged_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
    AND logged_at <= fromUnixTimestamp64Milli({before:Int64}, 'UTC')
    AND ({topic:String} = '' OR topic = {topic:String})
    AND ({type:String} = '' OR type = {type:String})
    AND ({key:String} = '' OR key = {key:String})
    AND (logged_at, topic, partition, offset) < (fromUnixTimestamp64Milli({before:Int64}, 'UTC'), {before_topic:String},
        {before_partition:UInt16}, {before_offset:UInt64})
ORDER BY logged_at DESC, topic DESC, partition DESC, offset DESC LIMIT {limit:UInt32} SETTINGS max_execution_time = 10"""
RECORD: Final = """SELECT topic, partition, offset, key, type, at, logged_at, value AS json, length(value) AS size_bytes,
    JSONExtractString(value, 'id') AS id, JSONExtractString(value, 'cause') AS cause
FROM log WHERE topic = {topic:String} AND partition = {partition:UInt16} AND offset = {offset:UInt64} LIMIT 1"""
TREE: Final = """SELECT concat(topic, '/', toString(partition), '/', toString(offset)) AS place, key, type, at,
    JSONExtractString(value, 'id') AS id, JSONExtractString(value, 'cause') AS cause
FROM log
WHERE logged_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
    AND logged_at <= fromUnixTimestamp64Milli({until:Int64}, 'UTC') AND multiSearchAny(value, {roots:Array(String)})
ORDER BY logged_at, topic, partition, offset LIMIT {limit:UInt32} SETTINGS max_execution_time = 20"""

# No record is behind it.
END: Final = "9999999999999/~/0/0"
Cursor = Annotated[
    str,
    Query(
        pattern=r"^[0-9]{1,13}/[A-Za-z0-9_.~-]{1,100}/[0-9]{1,4}/[0-9]{1,18}$",
        description="the `next_before` of the page before",
    ),
]
Minutes = Annotated[int, Query(ge=1, le=30 * 1_440, description="only records of so many minutes")]
Limit = Annotated[int, Query(ge=1, le=MAX_RECORDS)]
Key = Annotated[str, Query(max_length=480, pattern=r"^[^\x00-\x1f]*$", description="only records with exactly this key")]
TopicInPath = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
PartitionInPath = Annotated[int, Path(ge=0, le=65_535)]
OffsetInPath = Annotated[int, Path(ge=0, le=2**53)]


class LogTopicAnswer(BaseModel):
    """A topic: what it is keyed by and carries, who else gets its facts, and what the last hour brought. `compacted`: it keeps
    the last record of each key, and is not in the warehouse."""

    topic: str
    key: str
    partitions: int
    compacted: bool
    retention_s: int
    messages: list[str]
    heard: list[str] = Field(description="<fact> -> <topic>")
    records_in_hour: int
    last_at: datetime | None


class LogRecordAnswer(BaseModel):
    """A record. `json_text`: its message, without what is personal; in a list its beginning, of `size_bytes` bytes."""

    topic: str
    partition: int
    offset: int
    key: str
    type: str
    at: datetime
    logged_at: datetime
    json_text: str
    size_bytes: int


class LogRecordsAnswer(BaseModel):
    """A page, newest first. `next_before` null: that was all."""

    records: list[LogRecordAnswer]
    next_before: str | None = None


class LogNodeAnswer(BaseModel):
    """A message: what it came of (`parent`; empty: of nothing that is known), and its places: others may have heard it."""

    id: str
    parent: str
    type: str
    key: str
    at: datetime
    places: list[str]


class LogTreeAnswer(BaseModel):
    """A record, and the messages from its first cause on, each behind its parent. `id`: which of them the record is; empty: it
    is none that can be read. `cut`: there are more."""

    record: LogRecordAnswer
    id: str
    nodes: list[LogNodeAnswer]
    cut: bool


@router.get("/v1/admin/log/topics", response_model=list[LogTopicAnswer], responses=responses(401, 403, 503))
async def list_log_topics(_: LogLook, request: Request) -> Any:
    """The map of the log, with what the last hour brought."""
    told = {row["topic"]: row for row in await rows_of(request, ACTIVITY, {})}
    return [
        LogTopicAnswer(
            topic=topic.name, key=topic.key, partitions=topic.partitions, compacted=topic.compacted,
            retention_s=topic.retention_s, messages=[message.__name__ for message in topic.messages],
            heard=[
                f"{one.fact.__name__} -> {one.topic}"
                for one in SUBSCRIPTIONS
                if topic.name.endswith(".events") and one.fact in topic.messages
            ],
            records_in_hour=told.get(topic.name, {}).get("records", 0), last_at=told.get(topic.name, {}).get("last_at"),
        )
        for topic in topics()
    ]  # fmt: skip


@router.get("/v1/admin/log/records", response_model=LogRecordsAnswer, responses=responses(401, 403, 422, 503))
async def list_log_records(
    _: LogLook, request: Request, *, topic: Word = "", message_type: Word = "", key: Key = "", minutes: Minutes = 60,
    before: Cursor = END, limit: Limit = 100,
) -> Any:  # fmt: skip
    """Records of the inboxes, the events and the dead letters, newest first."""
    moment, before_topic, partition, offset = before.split("/")
    asked = {
        "topic": topic, "type": message_type, "key": key, "since": _ms(now() - timedelta(minutes=minutes)),
        "before": int(moment), "before_topic": before_topic, "before_partition": int(partition), "before_offset": int(offset),
        "limit": limit, "shown": SHOWN,
    }  # fmt: skip
    found = [_shown(row) for row in await rows_of(request, RECORDS, asked)]
    if len(found) < limit:
        return LogRecordsAnswer(records=found)
    last = found[-1]
    return LogRecordsAnswer(records=found, next_before=f"{_ms(last.logged_at)}/{last.topic}/{last.partition}/{last.offset}")


@router.get(
    "/v1/admin/log/records/{topic}/{partition}/{offset}",
    response_model=LogTreeAnswer,
    responses=responses(401, 403, 404, 422, 503),
)
async def read_log_record(
    topic: TopicInPath, partition: PartitionInPath, offset: OffsetInPath, _: LogLook, request: Request
) -> Any:
    """A record, what it came of, and what came of it, within a day."""
    rows = await rows_of(request, RECORD, {"topic": topic, "partition": partition, "offset": offset})
    if not rows:
        raise Problem(404, "record_unknown", f"the warehouse has no record at {topic}/{partition}/{offset}")
    row = rows[0]
    shown = _shown(row)
    if not row["id"]:
        return LogTreeAnswer(record=shown, id="", nodes=[], cut=False)
    around = {"since": _ms(shown.logged_at - AROUND), "until": _ms(shown.logged_at + AROUND), "limit": MAX_TREE}
    found = await rows_of(request, TREE, {**around, "roots": roots_of(row["id"], row["cause"])})
    own = Placed(f"{topic}/{partition}/{offset}", row["id"], row["cause"], row["type"], row["key"], row["at"])
    nodes = tree_of([own, *(Placed(**one) for one in found)], row["id"])
    return LogTreeAnswer(
        record=shown, id=row["id"], nodes=[LogNodeAnswer(**node._asdict()) for node in nodes], cut=len(found) == MAX_TREE
    )


def _shown(row: dict[str, Any]) -> LogRecordAnswer:
    return LogRecordAnswer(json_text=row["json"], **{name: row[name] for name in LogRecordAnswer.model_fields if name in row})


def _ms(at: datetime) -> int:
    return round(at.astimezone(UTC).timestamp() * 1_000)
