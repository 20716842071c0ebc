// A cohort's rule as the builder holds it, and as the API takes it.
export type Json = Record<string, unknown>;

/** What a condition looks at: a group of others, an attribute, a moment, or a sum over a window. */
export type Kind = 'all' | 'any' | 'is' | 'within' | 'count';

export interface Condition {
  id: number;
  not: boolean;
  kind: Kind;
  /** Of a group. */
  of: Condition[];
  field: string;
  /** Of an attribute, by commas. */
  values: string;
  days: number;
  amount: number;
  unit: string;
  atLeast: number;
  atMost: number | null;
}

const DAY_S = 86_400;
let made = 0;

export function condition(kind: Kind, field = '', of: Condition[] = []): Condition {
  return { id: ++made, not: false, kind, of, field, values: '', days: 7, amount: 7, unit: 'd', atLeast: 1, atMost: null };
}

export const valuesOf = (text: string): string[] => [...new Set(text.split(',').map((one) => one.trim()).filter(Boolean))];

/** The rule, or null while something in it is empty. */
export function ruleOf(one: Condition): Json | null {
  const rule = positive(one);
  return rule && one.not ? { rule: 'not', of: rule } : rule;
}

function positive({ kind, of, field, values, days, amount, unit, atLeast, atMost }: Condition): Json | null {
  switch (kind) {
    case 'all':
    case 'any': {
      const parts = of.map(ruleOf);
      return parts.length && !parts.includes(null) ? { rule: kind, of: parts } : null;
    }
    case 'is':
      return valuesOf(values).length ? { rule: kind, field, values: valuesOf(values) } : null;
    case 'within':
      return days > 0 ? { rule: kind, field, seconds: Math.round(days * DAY_S) } : null;
    case 'count':
      return amount > 0 ? { rule: kind, field, window: `${amount}${unit}`, at_least: atLeast ?? 0, ...(atMost !== null && { at_most: atMost }) } : null;
  }
}

/** A rule of the API's in the builder's form. */
export function conditionOf(rule: Json): Condition {
  const kind = String(rule['rule']);
  if (kind === 'not') {
    const inner = conditionOf(rule['of'] as Json);
    return inner.not ? { ...condition('all', '', [inner]), not: true } : { ...inner, not: true };
  }
  const made = condition(kind as Kind, String(rule['field'] ?? ''));
  if (kind === 'all' || kind === 'any') return { ...made, of: (rule['of'] as Json[]).map(conditionOf) };
  const [, amount = '7', unit = 'd'] = /^(\d+)([mhd])$/.exec(String(rule['window'] ?? '')) ?? [];
  return {
    ...made,
    values: ((rule['values'] as string[] | undefined) ?? []).join(', '),
    days: Number(rule['seconds'] ?? 7 * DAY_S) / DAY_S,
    amount: Number(amount),
    unit,
    atLeast: Number(rule['at_least'] ?? 0),
    atMost: (rule['at_most'] as number | null | undefined) ?? null
  };
}
