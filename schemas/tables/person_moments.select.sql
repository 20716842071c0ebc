-- From the facts that tell of a person. Of a fact about two both have a row; of an act of staff's everybody whom it was about.
-- rows_each: 2
WITH
    JSONExtract(value, 'Tuple(user String, peer String, caller String, callee String, sender String, receiver String,
        account String, counterparty String, staff String, subjects Array(String), by String, reviewer String, coins
        Int64, price_coins Int64, share_coins Int64, balance_coins Int64, ref String, hold String, call String, gift
        String, purchase String, payout String, cohort String, tag String, campaign String, notification String,
        occurrence String, report String, session String, device String, case String, role String, operation String,
        refusal String, reason String, outcome String, status String, code String, no_push String, withdrawal String,
        end String, why String, conversion String, kind String, item String, product String, platform String, country
        String, agency String, step String, price_class String)') AS m,
    splitByString('.events', topic)[1] AS entity,
    arrayFirst(x -> x != '', [splitByChar('/', m.account)[1], m.user, m.caller, m.sender]) AS first,
    arrayFirst(x -> x != '', [m.counterparty, m.peer, m.callee, m.receiver, m.agency,
        if(entity = 'record', m.reviewer, m.by)]) AS second,
    multiIf(
        entity = 'staff_act', arrayMap(one -> (one, m.staff, false), m.subjects),
        entity IN ('blocks', 'call', 'chat', 'chat_report', 'gift', 'membership') AND second != '',
            [(first, second, true), (second, first, false)],
        [(first, second, true)]
    ) AS people
SELECT
    arrayJoin(people).1 AS user, at, entity AS kind, type, arrayJoin(people).3 AS acted, arrayJoin(people).2 AS peer,
    if(entity = 'gift', if(acted, -m.price_coins, m.share_coins), m.coins) AS coins, splitByChar('/', m.account)[2] AS book,
    m.balance_coins AS balance_coins,
    arrayFirst(x -> x != '', [m.operation, m.ref, m.hold, m.call, m.gift, m.purchase, m.payout, m.cohort, m.tag, m.campaign,
        m.notification, m.occurrence, m.report, m.session, m.device, m.case, m.price_class]) AS thing,
    arrayFirst(x -> x != '', [m.refusal, m.code, m.outcome, m.reason, m.no_push, m.withdrawal, m.end, m.step, m.why, m.status,
        m.conversion, m.item, m.product, m.role, m.kind, m.platform, m.country]) AS note,
    partition, offset
FROM log
WHERE ((topic = 'account.events' AND type = 'EntryRecorded')
    OR (topic = 'attribution.events' AND type IN ('UserAttributed', 'AttributionMissed', 'ConversionRecorded'))
    OR (topic = 'blocks.events' AND type IN ('UserBlocked', 'UserUnblocked'))
    OR (topic = 'call.events' AND type IN ('CallRefused', 'CallEnded'))
    OR (topic = 'chat.events' AND type = 'ItemPosted' AND NOT JSONHas(value, 'kind'))
    OR (topic = 'chat_report.events' AND type IN ('ChatReported', 'ReportDecided', 'UserWarned'))
    OR (topic = 'favorites.events' AND type IN ('FavoriteAdded', 'FavoriteRemoved'))
    OR (topic = 'gift.events' AND type IN ('GiftSent', 'GiftRefused'))
    OR (topic = 'member.events' AND type IN ('CohortEntered', 'CohortLeft', 'TagChanged'))
    OR (topic = 'membership.events' AND type = 'MembershipStepped')
    OR (topic = 'notification.events' AND type IN ('Notified', 'NotificationAcked', 'NotificationRead', 'NotificationWithdrawn',
        'PushDecided', 'PushForgone', 'PhoneKept', 'PhoneDropped'))
    OR (topic = 'outbox.events' AND type IN ('PushAccepted', 'PushRefused', 'PushTokenDead'))
    OR (topic = 'payee.events' AND type IN ('DestinationPut', 'AutomaticPut'))
    OR (topic = 'payout.events' AND type = 'PayoutStepped')
    OR (topic = 'price_class.events' AND type IN ('PriceClassesApproved', 'PriceClassPicked'))
    OR (topic = 'private_profile.events' AND type IN ('PrivateProfilePut', 'PrivateProfileRead'))
    OR (topic = 'profile.events' AND type = 'ProfilePut')
    OR (topic = 'purchase.events' AND type IN ('PurchaseCredited', 'PurchaseRefunded', 'PurchaseRestored', 'PurchaseRefused',
        'PurchaseConsumed', 'PurchaseUnconsumed', 'UsageStated'))
    OR (topic = 'recipient.events' AND type IN ('CampaignTold', 'OpeningSent', 'OpeningRefused', 'OpeningsEnded'))
    OR (topic = 'record.events' AND type IN ('ConsequenceDrawn', 'ConsequenceReviewed'))
    OR (topic = 'staff.events' AND type = 'RolesChanged')
    OR (topic = 'staff_act.events' AND type = 'StaffAnswered')
    OR (topic = 'user.events' AND type IN ('UserSignedUp', 'SessionOpened', 'SessionClosed', 'CameOnline', 'WentOffline',
        'UserBanned', 'BanEnded', 'UserUnbanned', 'UserErased')))
