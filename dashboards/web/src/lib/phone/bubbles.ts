// An item of a chat in words.
import type { Item } from './chat';
import { lasted } from './times';
import { word, type Say } from './words';

/** What an item says; a text of a person's is only ever a text. */
export function saying(item: Item, say: Say): string {
  if (item.kind === 'call') return `${say.aCall}: ${item.connected ? lasted(item.duration_s ?? 0) : say.missed}, ${word(say.ends, item.reason ?? 'ended')}`;
  if (item.kind === 'gift') return `${say.gift}: ${item.gift ?? ''} (${item.coins ?? 0})`;
  if (item.deleted) return say.removed;
  return item.text || (item.picture_url ? say.picture_ : '');
}

/** The newest item of a chat, on one line. */
export function preview(item: Item | null | undefined, say: Say): string {
  return item ? saying(item, say).replace(/\s+/g, ' ') : '';
}
