-- What agencies have of what their members earned: an entry of the member's book a row. `share_coins` are of the `earned_coins`
-- that were earned since the share's last entry, under this version of the membership. Below zero, with version 0: a share that
-- came back, since the agency's account takes none any more. `ref`: the call or the gift with which the share became whole coins.
-- ORDER BY: an agency asks for a month of its members; (user, seq) makes an entry one row.
CREATE TABLE IF NOT EXISTS agency_shares
(
    agency       String,
    user         String,
    at           DateTime64(6, 'UTC'),
    seq          UInt64,
    version      UInt64,
    earned_coins Int64,
    share_coins  Int64,
    ref          String,
    partition    UInt16,
    offset       UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (agency, at, user, seq)
