// The order of a gallery: cards of pages, and between them those that the stream tells.
import type { Schemas } from '../olo';

export type Card = Schemas['CardAnswer'];
export type Change = { card: Card } | { gone: string };

const before = (one: Card, other: Card) => one.place - other.place || (one.user < other.user ? -1 : 1);

/** The cards behind one change. `more`: there are pages that were not read, so what stands behind the last card comes with them. */
export function changed(cards: readonly Card[], change: Change, more: boolean): Card[] {
  const user = 'gone' in change ? change.gone : change.card.user;
  const others = cards.filter((card) => card.user !== user);
  if ('gone' in change) return others;
  const last = others.at(-1);
  if (more && last && before(last, change.card) < 0) return others;
  return [...others, change.card].sort(before);
}

/** A next page behind the cards that are there. */
export function joined(cards: readonly Card[], page: readonly Card[]): Card[] {
  const users = new Set(page.map((card) => card.user));
  return [...cards.filter((card) => !users.has(card.user)), ...page].sort(before);
}

/** A number for a person's colour, always the same. */
export function tone(user: string, tones = 6): number {
  let sum = 0;
  for (const letter of user) sum = (sum * 31 + (letter.codePointAt(0) ?? 0)) % 9973;
  return sum % tones;
}
