-- A person's life on the platform, a moment a row: money, calls, gifts, chats (that, not what), notices, payments, payouts,
-- cohorts, staff. `kind` says of which part, `type` which fact tells it, `acted` whether it came from the person; `peer` is
-- the other one; `coins` moved in `book`, in which `balance_coins` were then; `thing` and `note` say about what, and why. The
-- topic `<kind>.events` has the fact, at `partition` and `offset` of `log`.
-- ORDER BY: a person's page is one range, read from its end; the place in the log makes a moment one row.
CREATE TABLE IF NOT EXISTS person_moments
(
    user          String,
    at            DateTime64(6, 'UTC'),
    kind          LowCardinality(String),
    type          LowCardinality(String),
    acted         Bool,
    peer          String,
    coins         Int64,
    book          LowCardinality(String),
    balance_coins Int64,
    thing         String,
    note          String,
    partition     UInt16,
    offset        UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (user, at, kind, partition, offset, acted)
