// The items of a chat as its phone keeps them: newest first, each once, whatever order the feed and the pages come in.
import type { Schemas } from '../olo';
import type { Posted } from './told';

export type Item = Schemas['ItemAnswer'];
export type Page = Schemas['PageAnswer'];

/** A message on its way. `key`: the phone's own id of it, the same each time it is sent; `after`: the newest item when it was
 * written. */
export interface Pending {
  key: string;
  text: string;
  after: number;
  refused: string | null;
}

/** An item as the feed tells it. `text` undefined: the phone has to ask for it. */
export function itemOf(posted: Posted, me: string): Item & { text?: string | null } {
  const { seq, at, kind = 'message', ref = '', text, picture_url, reason, item } = posted;
  const coins = posted.user === me ? posted.price_coins : posted.share_coins;
  return {
    seq,
    at,
    kind,
    ref,
    sender: posted.user,
    text,
    picture_url: picture_url || null,
    edited_at: null,
    deleted: false,
    reason: reason ?? null,
    connected: posted.connected ?? false,
    duration_s: posted.duration_s ?? 0,
    gift: item ?? null,
    coins: coins ?? 0
  };
}

/** Both, newest first; of an item that is in both the second one. */
export function merged(items: readonly Item[], more: readonly Item[]): Item[] {
  const known = new Map(items.map((item) => [item.seq, item]));
  for (const item of more) known.set(item.seq, item);
  return [...known.values()].sort((one, other) => other.seq - one.seq);
}

/** The items behind a newest page that was read anew. What lies so far back that the page does not reach it is read again by
 * pages; null for `before` then: keep where these are. */
export function refreshed(items: readonly Item[], page: Page): { items: Item[]; before: number | null | undefined } {
  const oldest = page.items.at(-1)?.seq ?? 0;
  const newest = items[0]?.seq ?? 0;
  if (!items.length || (page.next_before != null && oldest > newest + 1)) return { items: page.items, before: page.next_before };
  const kept = items.filter((item) => item.seq < oldest);
  return { items: merged(kept, page.items), before: undefined };
}

/** One item changed. */
export function changed(items: readonly Item[], seq: number, change: Partial<Item>): Item[] {
  return items.map((item) => (item.seq === seq ? { ...item, ...change } : item));
}

/** The messages on their way that the feed has not shown yet: one whose answer was lost may be among the items already. */
export function unshown(pending: readonly Pending[], items: readonly Item[], me: string): Pending[] {
  const claimed = new Set<number>();
  return pending.filter((one) => {
    const shown = items.findLast(
      (item) => item.sender === me && item.kind === 'message' && item.text === one.text && item.seq > one.after && !claimed.has(item.seq)
    );
    if (shown) claimed.add(shown.seq);
    return !shown;
  });
}
