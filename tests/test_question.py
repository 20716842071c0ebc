"""Questions in SQL: what reads is asked within limits, what does not is refused, and each run is a fact."""

import io
import uuid
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq
import pytest

from infra.clickhouse import connect
from pipelines.question import decide_question
from schemas.log.base import By
from schemas.question import NoteRun, PutQuestion, Question, QuestionPut, QuestionRefusal, QuestionRun, RemoveQuestion
from serving.question import END, _only_reads, _read
from serving.runtime.problems import Problem
from serving.runtime.spreadsheet import harmless
from tests.conftest import Api, Stack, eventually
from tests.decisions import decisions_of

decide = decisions_of(decide_question)
T = datetime(2030, 1, 1, tzinfo=UTC)
SAVED = Question(sql="SELECT 1", title="one", by=By("root"), saved_at=T)


def test_a_question_is_saved_run_and_taken_away() -> None:
    put = PutQuestion(id="p", at=T, question="one", sql="SELECT 1", title="one", by=By("root"))
    state, (fact,) = decide(None, put)
    assert (state, type(fact)) == (SAVED, QuestionPut)
    run = NoteRun(id="r", at=T, question="one", sql="SELECT 1", form="csv", by=By("sue"))
    for before in (None, SAVED):
        after, (fact,) = decide(before, run)
        assert (after, type(fact), fact.sql, fact.form, fact.by) == (before, QuestionRun, "SELECT 1", "csv", "sue")
    remove = RemoveQuestion(id="x", at=T, question="one", by=By("root"))
    assert decide(SAVED, remove)[0] is None
    assert decide(None, remove)[1][0].refusal is QuestionRefusal.QUESTION_UNKNOWN


@pytest.mark.parametrize("sql", ["SELECT 1", "-- why\n select 1", "/* a */ WITH 1 AS x SELECT x", "(SELECT 1)", "SHOW TABLES"])
def test_what_reads(sql: str) -> None:
    _only_reads(sql)


@pytest.mark.parametrize(
    "sql",
    ["KILL QUERY WHERE 1", "/* SELECT */ DROP TABLE log", "-- SELECT\nTRUNCATE TABLE log", " ", "SYSTEM SHUTDOWN", "'SELECT'"],
)  # fmt: skip
def test_what_does_not_read(sql: str) -> None:
    with pytest.raises(Problem) as refused:
        _only_reads(sql)
    assert refused.value.code == "query_not_reading"


@pytest.mark.parametrize(
    ("digits", "shown"),
    [
        ("9007199254740991", 2**53 - 1),
        ("9007199254740992", "9007199254740992"),
        ("18446744073709551615", "18446744073709551615"),
        ("-9007199254740993", "-9007199254740993"),
        ("123456789.12345678901234", "123456789.12345678901234"),
        ("0.1", 0.1),
        ("1e300", 1e300),
        ("-0", 0),
        ("null", None),
    ],
)  # fmt: skip
def test_no_number_loses_digits_on_its_way_to_a_browser(digits: str, shown: Any) -> None:
    assert _read(f"[[{digits}]]".encode()) == [[shown]]


@pytest.mark.parametrize(
    ("row", "written"),
    [
        ('"=HYPERLINK(""x"")",1', '"\'=HYPERLINK(""x"")",1'),
        ('"@SUM(1+1)","@apple","-cmd"', '"\'@SUM(1+1)","@apple","\'-cmd"'),
        ('-1,"a=b","",nan', '-1,"a=b","",nan'),
        ('"say ""=1""","\n=1","\uff1d1"', '"say ""=1""","\'\n=1","\'\uff1d1"'),
    ],
)  # fmt: skip
def test_no_text_of_a_file_is_a_formula(row: str, written: str) -> None:
    assert harmless(row.encode()).decode() == written
    assert harmless(b'"\xff=1"') == b'"\xff=1"'


def test_a_statement_may_end_with_a_semicolon() -> None:
    assert [END.sub("", one) for one in ("SELECT 1;", "SELECT 1 ;\n ; ", "SELECT ';'")] == ["SELECT 1"] * 2 + ["SELECT ';'"]


WRONG = [
    ("SELECT sum(sipHash64(number)) FROM numbers(1000000000000) SETTINGS max_execution_time = 100", "query_wrong", "readonly"),
    ("SELECT number FROM numbers(1001)", "query_too_much", "max rows"),
    ("SELECT repeat('x', 100000) FROM numbers(900)", "query_too_much", "the answer is longer"),
    ("SELECT repeat(toString(number), 100000) FROM numbers(900)", "query_too_much", "max bytes"),
    ("SELECT 1; DROP TABLE log", "query_wrong", "Multi-statements"),
    ("SELECT * FROM url('http://example.com', 'CSV')", "query_wrong", "may not"),
    ("SELECT * FROM file('/etc/passwd', 'LineAsString')", "query_wrong", "may not"),
    ("SELECT 1 INTO OUTFILE '/tmp/x'", "query_wrong", "may not"),
    ("WITH 1 AS x INSERT INTO tags SELECT x", "query_wrong", ""),
    ("SELECT 1 FORMAT CSV", "query_wrong", "Syntax error"),
    ("SELEC 1", "query_not_reading", "SELECT"),
]


def test_the_warehouse_is_asked_by_a_reader_with_limits(stack: Stack) -> None:
    """Rows, files, a saved question, who may; each run is in `question_runs`, and nothing is changed by any."""
    root, saved = Api(stack, f"root-{uuid.uuid4().hex[:8]}", "admin"), f"q-{uuid.uuid4().hex[:8]}"
    auditor = Api(stack, f"aud-{uuid.uuid4().hex[:8]}", "auditor")

    def ask(sql: str, **more: Any) -> Any:
        return auditor.post("/v1/admin/queries", json={"sql": sql} | more)

    told = ask("SELECT number AS n, 'ä' AS word FROM numbers(2)").json()
    assert (told["columns"], told["rows"]) == (
        [{"name": "n", "type": "UInt64"}, {"name": "word", "type": "String"}],
        [[0, "ä"], [1, "ä"]],
    )
    body = {"sql": "SELECT number AS n FROM numbers(5000)", "title": "many"}
    assert root.put(f"/v1/admin/questions/{saved}", json=body).json()["by"] == root.user
    assert auditor.put(f"/v1/admin/questions/{saved}", json=body).status_code == 403
    assert saved in {one["question"] for one in eventually(lambda: auditor.get("/v1/admin/questions").json())}
    file = ask(body["sql"], form="parquet", question=saved)
    assert file.headers["content-disposition"] == f'attachment; filename="{saved}.parquet"'
    assert pq.read_table(io.BytesIO(file.content)).num_rows == 5_000
    assert ask(body["sql"] + ";\n", form="csv").text.startswith('"n"\n0\n1\n')
    assert ask("SELECT '=1' AS a, 1, 1", form="csv").text == '"a","1","1"\n"\'=1",1,1\n'
    for sql, code, words in WRONG:
        found = ask(sql)
        assert (found.status_code, found.json().get("code")) == (422, code), (sql, found.text[:500])
        assert words in found.json()["detail"], sql
    assert (
        Api(stack, f"fin-{uuid.uuid4().hex[:8]}", "finance").post("/v1/admin/queries", json={"sql": "SELECT 1"}).status_code
        == 403
    )
    assert root.delete(f"/v1/admin/questions/{saved}").status_code == 204
    assert root.delete(f"/v1/admin/questions/{saved}").json()["code"] == "question_unknown"
    client = connect(stack.clickhouse)
    mine = f"SELECT count() FROM question_runs FINAL WHERE by = '{auditor.user}' AND step = 'QuestionRun'"
    assert eventually(lambda: client.query(mine).result_rows[0][0] == 4 + len(WRONG) - 1)
