// The numbers of the page Now: how they are put together, what they are called, and when they are stale.
export interface Row {
  name: string;
  /** null: nothing came of which it could be one. */
  value: number | null;
  as_of: string;
  /** Only in a snapshot: [Unix second, value], a point every few seconds. */
  recent?: [number, number | null][];
}

export interface Known {
  value: number | null;
  as_of: string;
  recent: [number, number | null][];
}

export type Numbers = Record<string, Known>;

/** How many points a curve has at most: five minutes of one every five seconds. */
export const MAX_POINTS = 60;
// So long a number may be behind: the windows are told each second, the flows are asked every five.
const FRESH_MS = { windows: 10_000, samples: 20_000 };

/** What is known behind an event: a snapshot replaces everything, `numbers` what it has. */
export function told(known: Numbers, name: string, rows: readonly Row[], pointS: number): Numbers {
  const found: Numbers = name === 'snapshot' ? {} : { ...known };
  for (const row of rows) {
    const recent = row.recent ?? found[row.name]?.recent ?? [];
    found[row.name] = { value: row.value, as_of: row.as_of, recent: row.recent ? recent : longer(recent, row, pointS) };
  }
  return found;
}

function longer(recent: [number, number | null][], row: Row, pointS: number): [number, number | null][] {
  const second = Math.floor(Date.parse(row.as_of) / 1000);
  const last = recent.at(-1)?.[0] ?? 0;
  return second < last + pointS ? recent : [...recent.slice(1 - MAX_POINTS), [second, row.value]];
}

/** How many milliseconds a number is behind the machine's clock. */
export const ageOf = (one: { as_of: string }, nowMs: number): number => Math.max(0, nowMs - Date.parse(one.as_of));

/** Whether it is too old to be taken for now. */
export const isStale = (name: string, one: { as_of: string }, nowMs: number): boolean =>
  ageOf(one, nowMs) > (name.includes('/') ? FRESH_MS.samples : FRESH_MS.windows);

/** A curve in a box of that size, as the points of an SVG polyline; the lowest value stands at the bottom. */
export function curve(recent: readonly [number, number | null][], width: number, height: number): string {
  const points = recent.filter((one): one is [number, number] => one[1] !== null);
  if (points.length < 2) return '';
  const values = points.map(([, value]) => value);
  const low = Math.min(...values, 0);
  const span = Math.max(...values) - low || 1;
  const [first, last] = [points[0]![0], points.at(-1)![0]];
  const at = ([second, value]: [number, number]) =>
    `${(((second - first) / (last - first || 1)) * width).toFixed(1)},${(height - ((value - low) / span) * height).toFixed(1)}`;
  return points.map(at).join(' ');
}

/** The tiles, in the order in which they stand: a name of the stream, what it is called, and its unit. */
export const TILES: readonly (readonly [group: string, tiles: readonly (readonly [name: string, label: string, unit: string])[]])[] = [
  [
    'People and calls',
    [
      ['online', 'online', ''],
      ['talking_direct', 'in direct calls', 'calls'],
      ['talking_roulette', 'in roulette', 'calls'],
      ['talking_clip', 'watching clips', 'calls'],
      ['accept_percent', 'calls taken, of those that rang in 5 min', '%'],
      ['answer_s', 'to answer, on average of 5 min', 's']
    ]
  ],
  [
    'In the last minute',
    [
      ['coins_in', 'coins in', ''],
      ['coins_spent', 'coins spent', ''],
      ['coins_earned', 'coins earned', ''],
      ['coins_out', 'coins paid out', ''],
      ['calls_direct', 'direct calls', ''],
      ['calls_roulette', 'roulette calls', ''],
      ['calls_clip', 'clips', ''],
      ['calls_refused', 'calls refused', ''],
      ['messages', 'messages', ''],
      ['gifts', 'gifts', ''],
      ['purchases', 'purchases', ''],
      ['sign_ups', 'sign-ups', '']
    ]
  ]
];

export interface FlowLine {
  flow: string;
  records: Known | undefined;
  seconds: Known | undefined;
  partitions: Known | undefined;
  parked: Known | undefined;
  letters: Known | undefined;
  restarts: Known | undefined;
}

/** The flows that told something, by name. */
export function flowsOf(numbers: Numbers): FlowLine[] {
  const flows = new Set(Object.keys(numbers).filter((name) => name.startsWith('lag_records/')).map((name) => name.slice(12)));
  const of = (sample: string, flow: string) => numbers[`${sample}/${flow}`];
  return [...flows].sort().map((flow) => ({
    flow,
    records: of('lag_records', flow),
    seconds: of('lag_seconds', flow),
    partitions: of('partitions', flow),
    parked: of('parked', flow),
    letters: of('dead_letters', flow),
    restarts: of('restarts', flow)
  }));
}

export interface Law {
  says: string;
  /** null: nobody has told yet. */
  holds: boolean | null;
  value: number | null;
}

/** What must hold, and whether it does as far as these numbers tell. */
export function lawsOf(numbers: Numbers): Law[] {
  const total = (sample: string): number | null => {
    const found = Object.entries(numbers).filter(([name]) => name.startsWith(`${sample}/`));
    return found.length ? found.reduce((sum, [, one]) => sum + (one.value ?? 0), 0) : null;
  };
  // What is between two accounts at this moment is no loss: it is one when it stays there.
  const between = numbers['coins_under_way'];
  const lost = between && between.recent.length > 5 ? Math.min(...between.recent.map(([, value]) => Math.abs(value ?? 0))) : null;
  const laws: [string, number | null][] = [
    ['coins that left one account have reached the other', lost],
    ['no entity is parked', total('parked')],
    ['no record became a dead letter since the flows began', total('dead_letters')]
  ];
  return laws.map(([says, value]) => ({ says, value, holds: value === null ? null : value === 0 }));
}
