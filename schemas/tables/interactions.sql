-- Who did what with whom: calls (amount: seconds), missed calls, gifts (coins), views, favourites, blocks. `late`: kept, not
-- counted in the affinity of the two.
-- ORDER BY: analysts ask for a span of days; the rest makes a deed one row.
CREATE TABLE IF NOT EXISTS interactions
(
    pair      String,
    at        DateTime64(6, 'UTC'),
    user      String,
    peer      String,
    kind      LowCardinality(String),
    amount    Float64,
    affinity  Float64,
    late      Bool,
    partition UInt16,
    offset    UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (at, pair, kind, partition, offset)
