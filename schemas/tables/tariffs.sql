-- Every version of every tariff that was published; `definition` is the whole version as JSON. The shipped ones are in the code.
-- ORDER BY: a tariff's versions in order, each one row.
CREATE TABLE IF NOT EXISTS tariffs
(
    tariff         String,
    version        UInt32,
    at             DateTime64(6, 'UTC'),
    effective_from DateTime64(6, 'UTC'),
    by             String,
    definition     String,
    partition      UInt16,
    offset         UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (tariff, version)
