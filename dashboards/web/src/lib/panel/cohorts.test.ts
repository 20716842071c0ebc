import { expect, test } from 'vitest';
import { condition, conditionOf, ruleOf, type Json } from './cohorts';

const RULES: Json[] = [
  { rule: 'is', field: 'country', values: ['DE', 'FR'] },
  { rule: 'within', field: 'signed_up', seconds: 43_200 },
  { rule: 'count', field: 'calls', window: '7d', at_least: 3 },
  { rule: 'count', field: 'calls', window: '24h', at_least: 0, at_most: 0 },
  { rule: 'not', of: { rule: 'is', field: 'tag', values: ['<svg/onload=alert(1)>'] } },
  {
    rule: 'any',
    of: [
      { rule: 'not', of: { rule: 'all', of: [{ rule: 'is', field: 'role', values: ['user'] }] } },
      { rule: 'count', field: 'coins_spent', window: '90d', at_least: 1, at_most: 10 }
    ]
  }
];

test.each(RULES)('a rule is the same behind the builder: %j', (rule) => {
  expect(ruleOf(conditionOf(rule))).toEqual(rule);
});

test('twice not means the same', () => {
  const inner = { rule: 'is', field: 'role', values: ['user'] };
  const found = ruleOf(conditionOf({ rule: 'not', of: { rule: 'not', of: inner } }));
  expect(found).toEqual({ rule: 'not', of: { rule: 'all', of: [{ rule: 'not', of: inner }] } });
});

test('what is empty is no rule yet', () => {
  expect(ruleOf(condition('all'))).toBeNull();
  expect(ruleOf(condition('is', 'country'))).toBeNull();
  expect(ruleOf(condition('any', '', [condition('is', 'country')]))).toBeNull();
  expect(ruleOf({ ...condition('is', 'country'), values: ' , ' })).toBeNull();
});
