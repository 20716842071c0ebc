-- Every step of every payout: requested ones that are held, approved, exported, paid, returned, rejected or failed; by whom, and why.
-- Gross is amount_cents + fee_cents. The last step of a payout is where it stands.
-- ORDER BY: analysts ask for a span of days; (at, id) makes a step one row.
CREATE TABLE IF NOT EXISTS payout_steps
(
    id                  String,
    at                  DateTime64(6, 'UTC'),
    payout              String,
    user                String,
    status              LowCardinality(String),
    coins               Int64,
    from_seq            UInt64,
    to_seq              UInt64,
    debits_coins        Int64,
    debits_from_seq     UInt64,
    debits_to_seq       UInt64,
    again_coins         Int64,
    version             UInt32,
    cents_per_100_coins UInt32,
    currency            LowCardinality(String),
    amount_cents        Int64,
    fee_cents           Int64,
    batch               String,
    provider            LowCardinality(String),
    by                  String,
    ref                 String,
    destination         String,
    seen                String,
    partition           UInt16,
    offset              UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (at, id)
