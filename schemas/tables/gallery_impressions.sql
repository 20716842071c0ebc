-- Every card of the gallery that a viewer was shown; `line`: which of its page, `place`: on the page that began at `first`.
-- ORDER BY: analysts ask for a span of days; (at, viewer, line) makes a card one row.
CREATE TABLE IF NOT EXISTS gallery_impressions
(
    viewer    String,
    at        DateTime64(6, 'UTC'),
    card      String,
    first     UInt32,
    line      UInt32,
    partition UInt16,
    offset    UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (at, viewer, line, partition, offset)
