import { expect, test } from 'vitest';
import { backtested, corners, differences, draftOf, emptySide, ruled, spoken, type Answer, type Body } from './tariffs';

const BODY: Body = { rule: { kind: 'roulette' }, payer: emptySide(), earner: { checkpoints: [], step_s: 60, step_coins: 5 }, name: 'a' };

test('what a side is, in words', () => {
  expect(spoken({})).toBe('nothing');
  expect(spoken(BODY.earner)).toBe('5 every 60 s');
  expect(spoken({ checkpoints: [{ after_s: 0, coins: 9 }], step_s: 0 })).toBe('9 after 0 s');
});

test('what differs, and nothing else', () => {
  expect(differences(BODY, BODY)).toEqual([]);
  const dearer = { ...BODY, payer: { ...BODY.payer, step_coins: 7 }, rule: { ...BODY.rule, tag: '<b>' } };
  expect(differences(BODY, dearer).map(({ what, after }) => [what, after])).toEqual([
    ['tag', '<b>'],
    ['payer pays', '0 after 0 s, 7 every 60 s']
  ]);
  expect(differences(undefined, BODY).map(({ what }) => what)).toContain('kind');
});

const EVENING = { windows: [{ days: [5, 6], begins: '20:00', ends: '02:00' }], zone: 'Europe/Berlin' };
const WHOLE: Answer = {
  ...BODY,
  rule: { ...BODY.rule, price_class: 'gold', hours: EVENING },
  payer: { ...BODY.payer, most_coins: 90 },
  free: [{ tag: 'vip', free_s: 60 }],
  tariff: 't',
  version: 3,
  effective_from: '2030-01-01T00:00:00Z'
};

test('a draft has all that its version says: what the editor has no field for is neither lost nor changed unseen', () => {
  const draft = draftOf(WHOLE);
  expect(draft).toEqual({ ...BODY, rule: WHOLE.rule, payer: WHOLE.payer, free: WHOLE.free });
  expect(differences(WHOLE, draft)).toEqual([]);
  expect(differences(WHOLE, BODY).map(({ what, before }) => [what, before])).toEqual([
    ['price class', 'gold'],
    ['hours', 'Fri Sat 20:00–02:00 Europe/Berlin'],
    ['payer pays', '0 after 0 s, at most 90'],
    ['free at first', '60 s for vip']
  ]);
  expect([ruled(WHOLE.rule), ruled({})]).toEqual(['roulette, gold, Fri Sat 20:00–02:00 Europe/Berlin', 'every call']);
});

test('a curve goes up in steps, and stays in its box', () => {
  expect(corners([[0, 0], [10, 5], [20, 10]], 20, 10, 100, 50)).toBe('0,50 0,50 50,50 50,25 100,25 100,0 100,0');
  expect(corners([], 0, 0, 100, 50)).toBe('0,50');
});

const streamOf = (text: string) => new Blob([text]).stream() as ReadableStream<Uint8Array>;

test('a backtest says how far it is, and what came of it, or why nothing did', async () => {
  const told: number[][] = [];
  const text = 'event: progress\ndata: {"rated":0,"calls":7}\n\nevent: result\ndata: {"result":{"calls":7}}\n\n';
  expect(await backtested(streamOf(text), (...one) => told.push(one))).toEqual({ calls: 7 });
  expect(told).toEqual([[0, 7]]);
  await expect(backtested(streamOf('event: wrong\ndata: {"wrong":"no"}\n\n'), () => {})).rejects.toThrow('no');
  await expect(backtested(streamOf(''), () => {})).rejects.toThrow('cut off');
});
