import { describe, expect, it } from 'vitest';
import { changed, itemOf, merged, refreshed, unshown, type Item, type Page, type Pending } from './chat';
import type { Posted } from './told';

const item = (seq: number, text = `m${seq}`, sender = 'ann') => ({ seq, text, sender, kind: 'message', ref: `r${seq}` }) as Item;
const items = (...seqs: number[]) => seqs.map((seq) => item(seq));
const seqs = (found: readonly Item[]) => found.map((one) => one.seq);
const page = (found: Item[], next_before: number | null) => ({ items: found, next_before }) as Page;
const pending = (text: string, after: number): Pending => ({ key: text, text, after, refused: null });

describe('the items of a chat', () => {
  it('are each there once, newest first, in whatever order they come', () => {
    expect(seqs(merged(items(3, 1), items(2, 4, 3)))).toEqual([4, 3, 2, 1]);
    expect(merged(items(3), [item(3, 'edited')])[0]?.text).toBe('edited');
  });

  it('are kept when the newest page joins them', () => {
    const found = refreshed(items(5, 4, 3, 2, 1), page(items(7, 6, 5), 5));
    expect([seqs(found.items), found.before]).toEqual([[7, 6, 5, 4, 3, 2, 1], undefined]);
  });

  it('that were taken away meanwhile are not there any more', () => {
    expect(seqs(refreshed(items(5, 4, 3, 2, 1), page(items(6, 5, 3), 3)).items)).toEqual([6, 5, 3, 2, 1]);
  });

  it('give way to a page that does not reach them', () => {
    const found = refreshed(items(2, 1), page(items(90, 89), 89));
    expect([seqs(found.items), found.before]).toEqual([[90, 89], 89]);
    expect(refreshed([], page(items(2), null)).before).toBe(null);
  });

  it('change one by one', () => {
    expect(changed(items(2, 1), 1, { text: null, deleted: true }).map((one) => one.text)).toEqual(['m2', null]);
  });
});

describe('a message on its way', () => {
  it('is not shown beside the item that it has become', () => {
    expect(unshown([pending('hi', 0)], [item(1, 'hi')], 'ann')).toEqual([]);
    expect(unshown([pending('hi', 1)], [item(1, 'hi')], 'ann')).toHaveLength(1);
    expect(unshown([pending('hi', 0)], [item(1, 'hi', 'ben')], 'ann')).toHaveLength(1);
  });

  it('that was written twice is shown until each has become an item', () => {
    const both = [pending('hi', 0), pending('hi', 0)];
    expect(unshown(both, [item(1, 'hi')], 'ann')).toHaveLength(1);
    expect(unshown(both, [item(2, 'hi'), item(1, 'hi')], 'ann')).toEqual([]);
  });
});

describe('an item of the feed', () => {
  const posted = (more: Partial<Posted>) => ({ seq: 4, at: 'T', user: 'ann', peer: 'ben', ...more }) as Posted;

  it('says what a page would say, with the defaults that the feed leaves out', () => {
    expect(itemOf(posted({ text: 'hi', ref: 'r' }), 'ann')).toMatchObject({ kind: 'message', text: 'hi', sender: 'ann', ref: 'r', deleted: false });
    expect(itemOf(posted({ kind: 'call', connected: true, duration_s: 3 }), 'ann')).toMatchObject({ kind: 'call', connected: true, duration_s: 3 });
  });

  it('tells each side its own coins of a gift', () => {
    const gift = { kind: 'gift', item: 'rose', price_coins: 10, share_coins: 6 } as const;
    expect(itemOf(posted(gift), 'ann').coins).toBe(10);
    expect(itemOf(posted(gift), 'ben').coins).toBe(6);
  });

  it('without a text asks for it', () => expect(itemOf(posted({}), 'ann').text).toBeUndefined());
});
