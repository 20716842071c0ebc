// Tariffs as the editor holds them: what changed between two versions, the price curve's points, and a backtest's stream.
import { EventSourceParserStream } from 'eventsource-parser/stream';
import { Refused, type Schemas } from '../olo';

export type Body = Schemas['TariffBody'];
export type Answer = Schemas['TariffAnswer'];
export type Side = Schemas['TariffSideBody'];

/** One line of a difference: what it is about, before and after. */
export interface Change {
  what: string;
  before: string;
  after: string;
}

export const emptySide = (): Side => ({ checkpoints: [{ after_s: 0, coins: 0 }], step_s: 60, step_coins: 0 });

/** What an editor begins with: all that a version says, but from when it was in force. */
export function draftOf(version: Answer): Body {
  const { tariff: _tariff, version: _version, effective_from: _from, ...said } = structuredClone(version);
  return said;
}

/** A side in words. */
export function spoken({ checkpoints = [], step_s = 0, step_coins = 0, most_coins = 0 }: Side): string {
  const first = checkpoints.map(({ after_s, coins }) => `${coins} after ${after_s} s`);
  const parts = [...first, ...(step_s && step_coins ? [`${step_coins} every ${step_s} s`] : [])].join(', ') || 'nothing';
  return most_coins ? `${parts}, at most ${most_coins}` : parts;
}

const DAYS = ['', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];

/** The hours of a rule, in words. */
export function hoursOf({ hours }: Body['rule']): string {
  const windows = hours?.windows.map(({ days, begins, ends }) => `${days.map((day) => DAYS[day]).join(' ')} ${begins}–${ends}`);
  return windows ? `${windows.join(', ')} ${hours?.zone}` : '';
}

/** Which calls a rule is for, in words. */
export function ruled(rule: Body['rule']): string {
  const { kind, payer_role, earner_role, country, tag, price_class } = rule;
  return [kind, payer_role, earner_role, country, tag, price_class, hoursOf(rule)].filter(Boolean).join(', ') || 'every call';
}

function facts({ rule, payer, earner, name = '', subsidy = false, free = [] }: Body): [string, string][] {
  const { kind, payer_role, earner_role, country, tag, price_class } = rule;
  return [
    ['name', name],
    ['kind', kind ?? 'any'],
    ['payer is', payer_role ?? 'anybody'],
    ['earner is', earner_role ?? 'anybody'],
    ['country', country || 'any'],
    ['tag', tag || 'any'],
    ['price class', price_class || 'any'],
    ['hours', hoursOf(rule) || 'all'],
    ['payer pays', spoken(payer)],
    ['earner earns', spoken(earner)],
    ['free at first', free.map((one) => `${one.free_s} s for ${one.tag}`).join(', ') || 'for nobody'],
    ['subsidy', subsidy ? 'yes' : 'no']
  ];
}

/** What differs; all of it where there was nothing before. */
export function differences(before: Body | undefined, after: Body): Change[] {
  const old = new Map(before ? facts(before) : []);
  return facts(after)
    .map(([what, now]) => ({ what, before: old.get(what) ?? '', after: now }))
    .filter((one) => one.before !== one.after);
}

/** A step function's corners as the points of an SVG line, in a box of `width` by `height`. `coins`: the top. */
export function corners(curve: readonly [number, number][], endS: number, coins: number, width: number, height: number): string {
  const x = (second: number) => Math.round((second / Math.max(endS, 1)) * width * 10) / 10;
  const y = (found: number) => Math.round((height - (found / Math.max(coins, 1)) * height) * 10) / 10;
  const points: string[] = [];
  let last = 0;
  for (const [second, found] of curve) {
    points.push(`${x(second)},${y(last)}`, `${x(second)},${y(found)}`);
    last = found;
  }
  return [...points, `${x(endS)},${y(last)}`].join(' ');
}

interface Moved {
  who: string;
  calls: number;
  old: number;
  new: number;
}

/** What `olo tariff backtest` says, too: sums of the calls that would run under the draft, and who gains and loses most. */
export interface Backtest {
  calls: number;
  unequal: number;
  left: number;
  sums: { calls: number | null; paid: number | null; earned: number | null; new_paid: number | null; new_earned: number | null };
  changes: Record<string, Moved[]>;
  buckets: [number, number][];
}

/** The result of a backtest's stream. `told`: how many of how many calls are rated. */
export async function backtested(stream: ReadableStream<Uint8Array>, told: (rated: number, calls: number) => void): Promise<Backtest> {
  const texts = stream.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>);
  const reader = texts.pipeThrough(new EventSourceParserStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const { event, data } = part.value;
    if (!data) continue;
    const line = JSON.parse(data) as { rated: number; calls: number; result: Backtest; wrong: string };
    if (event === 'progress') told(line.rated, line.calls);
    if (event === 'result') return line.result;
    if (event === 'wrong') throw new Refused('backtest_failed', line.wrong, 503);
  }
  throw new Refused('unreachable', 'the backtest was cut off; ask for it again');
}
