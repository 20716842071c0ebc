-- What staff did: a row when it was asked for (`StaffActed`), and one with what came of it (`StaffAnswered`).
-- Status 0 and code `unknown`: nobody knows. `asked` is JSON, with texts as their SHA-256. `commands`: the facts of `log` whose `cause` is one
-- of them say what was changed.
-- ORDER BY: auditors read the newest acts, of all or of a person; the place in the log makes a step one row.
CREATE TABLE IF NOT EXISTS audit
(
    act        String,
    acted_at   DateTime64(6, 'UTC'),
    at         DateTime64(6, 'UTC'),
    step       LowCardinality(String),
    staff      String,
    roles      Array(String),
    operation  LowCardinality(String),
    permission LowCardinality(String),
    subjects   Array(String),
    thing      String,
    why        String,
    asked      String,
    status     UInt16,
    code       LowCardinality(String),
    commands   Array(String),
    partition  UInt16,
    offset     UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (acted_at, act, partition, offset)
