-- By day and platform: how many phones registered for pushes, logged out, gave way to newer ones, or had tokens that vendors call dead.
SELECT
    toDate(at) AS day, platform, countIf(kept) AS registered, countIf(end = 'logged_out') AS logged_out,
    countIf(end = 'replaced') AS replaced, countIf(end = 'token_dead') AS dead
FROM phones FINAL
GROUP BY day, platform
ORDER BY day, platform
