-- From `notification.events`.
WITH JSONExtract(value, 'Tuple(user String, notification String, kind String, reason String, no_push String, withdrawal String,
    phones UInt32, after_s Float64, unread UInt32)') AS n
SELECT
    n.user AS user, n.notification AS notification, n.kind AS kind, at, type AS step, n.reason AS reason, n.no_push AS no_push,
    n.withdrawal AS withdrawal, n.phones AS phones, n.after_s AS after_s, n.unread AS unread, partition, offset
FROM log
WHERE topic = 'notification.events' AND type IN ('Notified', 'NotificationAcked', 'NotificationRead', 'NotificationWithdrawn',
    'PushDecided', 'PushHeld', 'PushForgone')
