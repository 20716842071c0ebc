-- The ledger of postbacks, a row each. `state`: sent (an attempt is under way), retried (it waits for the next one), accepted,
-- refused (`why`; too late is a refusal, too; `olo postbacks show` has the vendor's own words, which may be personal). `attempts`: made so far.
SELECT
    effect, any(provider) AS provider, any(subject) AS user, anyIf(conversion, conversion != '') AS conversion,
    anyIf(event, event != '') AS event, anyIf(ref, ref != '') AS ref, anyIf(network, network != '') AS network,
    anyIf(campaign, campaign != '') AS campaign, max(value_micros) / 1000000 AS value, anyIf(currency, currency != '') AS currency,
    max(happened_at) AS happened_at, min(at) AS owed_at, max(attempt) AS attempts,
    transform(
        argMax(step, (partition, offset)),
        ['EffectDue', 'EffectPostponed', 'EffectAccepted', 'EffectRefused', 'EffectExpired'],
        ['sent', 'retried', 'accepted', 'refused', 'refused'], '') AS state,
    argMax(status, (partition, offset)) AS http_status,
    if(argMax(step, (partition, offset)) = 'EffectExpired', 'too late: ', '')
        || if(state IN ('accepted', 'sent'), '', if(http_status = 0, 'no answer', 'HTTP ' || toString(http_status))) AS why,
    if(state IN ('accepted', 'refused'), max(at), NULL) AS ended_at
FROM postback_attempts FINAL
GROUP BY effect
