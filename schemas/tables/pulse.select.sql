-- From `pulse.minutes`: each window, as often as it was written.
WITH JSONExtract(value, 'Tuple(metric String, value Int64, late Int64, as_of String)') AS w
SELECT at, w.metric AS metric, w.value AS value, w.late AS late, parseDateTime64BestEffortOrZero(w.as_of, 6, 'UTC') AS as_of,
    partition, offset
FROM log
WHERE topic = 'pulse.minutes' AND type = 'PulseWindow'
