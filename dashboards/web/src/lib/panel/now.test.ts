import { expect, test } from 'vitest';
import { curve, flowsOf, isStale, lawsOf, MAX_POINTS, TILES, told, type Numbers } from './now';

const AT = '2027-01-15T08:00:00Z';
const later = (seconds: number) => new Date(Date.parse(AT) + seconds * 1000).toISOString();

test('a snapshot replaces everything, changes what they have, and curves do not grow', () => {
  let known: Numbers = told({}, 'snapshot', [{ name: 'online', value: 3, as_of: AT, recent: [] }, { name: 'gifts', value: 1, as_of: AT, recent: [] }], 5);
  for (let second = 1; second <= 1_000; second++) known = told(known, 'numbers', [{ name: 'online', value: second, as_of: later(second) }], 5);
  expect(known['online']?.value).toBe(1_000);
  expect(known['online']?.recent.length).toBe(MAX_POINTS);
  expect(known['gifts']?.value).toBe(1);
  expect(Object.keys(told(known, 'snapshot', [], 5))).toEqual([]);
});

test('a number is stale when it is older than its kind may be', () => {
  const one = { as_of: AT };
  expect(isStale('online', one, Date.parse(later(9)))).toBe(false);
  expect(isStale('online', one, Date.parse(later(11)))).toBe(true);
  expect(isStale('lag_records/money', one, Date.parse(later(11)))).toBe(false);
  expect(isStale('lag_records/money', one, Date.parse(later(21)))).toBe(true);
});

test('a curve fills its box, and leaves out what was not known', () => {
  expect(curve([[0, 0], [5, null], [10, 10]], 100, 20)).toBe('0.0,20.0 100.0,0.0');
  expect(curve([[0, 7]], 100, 20)).toBe('');
  expect(curve([[0, 0], [5, 0]], 100, 20)).toBe('0.0,20.0 100.0,20.0');
});

test('flows and laws are read from what was told', () => {
  const known = told({}, 'snapshot', [
    { name: 'lag_records/money', value: 7, as_of: AT, recent: [] },
    { name: 'parked/money', value: 1, as_of: AT, recent: [] },
    { name: 'coins_under_way', value: 5, as_of: AT, recent: [[0, 5], [5, 0], [10, 5], [15, 9], [20, 2], [25, 5]] }
  ], 5);
  expect(flowsOf(known).map(({ flow, records }) => [flow, records?.value])).toEqual([['money', 7]]);
  expect(lawsOf(known).map(({ holds }) => holds)).toEqual([true, false, null]);
});

test('each tile stands once', () => {
  const names = TILES.flatMap(([, tiles]) => tiles.map(([name]) => name));
  expect(new Set(names).size).toBe(names.length);
});
