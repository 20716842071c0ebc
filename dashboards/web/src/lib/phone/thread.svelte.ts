// One chat on a phone: its items, who has read how far, and messages on their way, which are sent until they are decided.
import { decided, Refused, type Olo } from '../olo';
import { changed, itemOf, merged, refreshed, unshown, type Item, type Pending } from './chat';
import { once, patiently } from './doing.svelte';
import type { Posted } from './told';

const PAGE = 30;
const AGAIN_MS = 1000;
const ASKS = 5;
const TYPING_MS = 4000;
const TELL_TYPING_MS = 3000;
const UNKNOWN = 'chat_unknown';

export class Thread {
  items = $state.raw<Item[]>([]);
  before = $state<number | null>(null);
  peerRead = $state(0);
  typing = $state(false);
  pending = $state.raw<Pending[]>([]);
  readonly anew = once(() => this.readNewest());
  private read = 0;
  private sending = false;
  private stopTyping: ReturnType<typeof setTimeout> | undefined;
  private toldTyping = -TELL_TYPING_MS;
  private giftKey = crypto.randomUUID();

  constructor(
    private readonly olo: Olo,
    readonly user: string,
    readonly peer: string,
    private readonly signal: AbortSignal
  ) {}

  get waiting(): Pending[] {
    return unshown(this.pending, this.items, this.user);
  }

  private page(before: number | null) {
    const query = { limit: PAGE, ...(before === null ? {} : { before }) };
    return decided(() => this.olo.GET('/v1/chats/{user}', { params: { path: { user: this.peer }, query } }));
  }

  private async readNewest() {
    const page = await this.page(null).catch((error: unknown) => {
      if (error instanceof Refused && error.code === UNKNOWN) return null; // nothing was said yet
      throw error;
    });
    if (!page) return;
    const found = refreshed(this.items, page);
    this.items = found.items;
    if (found.before !== undefined) this.before = found.before;
    this.peerRead = Math.max(this.peerRead, page.peer_read);
    this.read = Math.max(this.read, page.read);
  }

  async older() {
    const page = await this.page(this.before);
    this.items = merged(page.items, this.items);
    this.before = page.next_before ?? null;
  }

  // --- what the feed tells --------------------------------------------------------------------------------------------------

  async posted(posted: Posted) {
    const item = itemOf(posted, this.user);
    if (item.kind === 'message' && item.text === undefined) await this.ask(item);
    else this.items = merged(this.items, [item]);
    if (posted.user === this.peer) this.typing = false;
  }

  /** A message whose text the feed did not have. The feed may tell it before those who are asked have it. */
  private async ask(item: Item) {
    const params = { path: { user: this.peer, message: item.ref } };
    const asked = () => decided(() => this.olo.GET('/v1/chats/{user}/messages/{message}', { params }));
    const whole = await patiently(asked, ASKS, AGAIN_MS).catch((error: unknown) => {
      if (error instanceof Refused) return { ...item, text: null };
      throw error;
    });
    this.items = merged(this.items, [whole]);
  }

  edited(seq: number, at: string, text: string | undefined) {
    const known = this.items.find((item) => item.seq === seq);
    if (!known) return;
    if (text === undefined) void this.ask(known);
    else this.items = changed(this.items, seq, { text, edited_at: at });
  }

  deleted(seq: number) {
    this.items = changed(this.items, seq, { text: null, picture_url: null, deleted: true });
  }

  hidden(seq: number) {
    this.items = this.items.filter((item) => item.seq !== seq);
  }

  types() {
    this.typing = true;
    clearTimeout(this.stopTyping);
    this.stopTyping = setTimeout(() => (this.typing = false), TYPING_MS);
  }

  // --- what its user does ---------------------------------------------------------------------------------------------------

  send(text: string) {
    const after = this.items[0]?.seq ?? 0;
    this.pending = [...this.pending, { key: crypto.randomUUID(), text, after, refused: null }];
    void this.deliver();
  }

  /** Send a message that was refused again, under the same key. */
  again(key: string) {
    this.pending = this.pending.map((one) => (one.key === key ? { ...one, refused: null } : one));
    void this.deliver();
  }

  discard(key: string) {
    this.pending = this.pending.filter((one) => one.key !== key);
  }

  /** One after the other, so that they keep their order; each under its own key until it is decided, however long that takes. */
  private async deliver() {
    if (this.sending) return;
    this.sending = true;
    try {
      for (let next = this.next(); next && !this.signal.aborted; next = this.next()) await this.attempt(next);
    } finally {
      this.sending = false;
    }
  }

  private next() {
    return this.pending.find((one) => one.refused === null);
  }

  private async attempt({ key, text }: Pending) {
    const params = { path: { user: this.peer }, header: { 'Idempotency-Key': key } };
    try {
      const sent = await decided(() => this.olo.POST('/v1/chats/{user}/messages', { params, body: { text } }));
      this.sent(sent.seq, sent.message, text);
      this.discard(key);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (error.open) await new Promise((done) => setTimeout(done, AGAIN_MS));
      else this.pending = this.pending.map((one) => (one.key === key ? { ...one, refused: error.code } : one));
    }
  }

  /** The item that a message has become, until the feed tells it. */
  private sent(seq: number, ref: string, text: string) {
    if (this.items.some((item) => item.seq === seq)) return;
    const item = { seq, ref, text, at: new Date().toISOString(), kind: 'message', sender: this.user, deleted: false } as Item;
    this.items = merged(this.items, [item]);
  }

  edit(item: Item, text: string) {
    const params = { path: { user: this.peer, message: item.ref } };
    return decided(() => this.olo.PUT('/v1/chats/{user}/messages/{message}', { params, body: { text } }));
  }

  remove(item: Item) {
    const params = { path: { user: this.peer, message: item.ref } };
    return decided(() => this.olo.DELETE('/v1/chats/{user}/messages/{message}', { params }));
  }

  /** The newest item is on the screen. */
  async seen() {
    const seq = this.items[0]?.seq ?? 0;
    if (seq <= this.read) return;
    this.read = seq;
    const params = { path: { user: this.peer } };
    await decided(() => this.olo.PUT('/v1/chats/{user}/read', { params, body: { seq } })).catch((error: unknown) => {
      if (!(error instanceof Refused)) throw error; // the next item is seen with this one
    });
  }

  /** Its user is writing: told now and then, and lost where the network is away. */
  async tellTyping(now: number) {
    if (now - this.toldTyping < TELL_TYPING_MS) return;
    this.toldTyping = now;
    await this.olo.POST('/v1/chats/{user}/typing', { params: { path: { user: this.peer } } }).catch(() => undefined);
  }

  /** Give something. Where it is not known whether it was given, the next try is the same gift, so that it counts once. */
  async give(gift: string) {
    const params = { header: { 'Idempotency-Key': `${this.giftKey}-${gift}` } };
    try {
      await decided(() => this.olo.POST('/v1/gifts', { params, body: { to: this.peer, gift } }));
      this.giftKey = crypto.randomUUID();
    } catch (error) {
      if (error instanceof Refused && !error.open) this.giftKey = crypto.randomUUID();
      throw error;
    }
  }
}
