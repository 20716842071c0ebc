-- From `migration_row.events`; what came again, or too late, is not in it.
WITH JSONExtract(value, 'Tuple(event String, row String, feed String, feed_version UInt32, table String, operation String,
    outcome String, rule String, action String, user String, told_at String, sent String)') AS f
SELECT
    at, f.event AS event, f.row AS row, f.feed AS feed, f.feed_version AS feed_version, f.table AS `table`,
    f.operation AS operation, f.outcome AS outcome, f.rule AS rule, f.action AS action, f.user AS user,
    parseDateTime64BestEffortOrZero(f.told_at, 6, 'UTC') AS told_at, f.sent AS sent, partition, offset
FROM log
WHERE topic = 'migration_row.events' AND type = 'RowNoted'
