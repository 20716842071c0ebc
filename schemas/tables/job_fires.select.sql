-- From `timetable.events`. The default of `fires` is left out on the log.
WITH JSONExtract(value, 'Tuple(job String, version UInt64, instant String, last String, outcome String, fires UInt64,
    duration_s Float64, manual Bool)') AS f
SELECT
    f.job AS job, at, f.version AS version, parseDateTime64BestEffortOrZero(f.instant, 6, 'UTC') AS instant,
    parseDateTime64BestEffortOrZero(f.last, 6, 'UTC') AS last, f.outcome AS outcome, greatest(f.fires, 1) AS fires,
    f.duration_s AS duration_s, f.manual AS manual, partition, offset
FROM log
WHERE topic = 'timetable.events' AND type = 'FireEnded'
