// A phone's chats: the list, how many items are unread, and the threads that were opened.
import { decided, type Olo, type Schemas } from '../olo';
import { once } from './doing.svelte';
import { Thread } from './thread.svelte';
import type { Part, Told } from './told';

const MOVES = new Set<string>(['ItemPosted', 'MessageEdited', 'MessageDeleted', 'ItemHidden', 'ChatRead', 'BadgeChanged']);
const LATER_MS = 1000;

export class Chats implements Part {
  list = $state.raw<Schemas['ChatAnswer'][]>([]);
  unread = $state(0);
  before = $state<string | null>(null);
  gifts = $state.raw<Schemas['GiftItemAnswer'][]>([]);
  private readonly threads = new Map<string, Thread>();
  private readonly readList = once(async () => this.read());
  private following: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly olo: Olo,
    private readonly user: string,
    private readonly signal: AbortSignal
  ) {}

  async anew() {
    const { unread } = await this.page(null);
    this.unread = unread;
    await this.readList();
    for (const thread of this.threads.values()) await thread.anew();
  }

  /** The chat with somebody; from now on it follows the feed. */
  with(peer: string): Thread {
    const known = this.threads.get(peer);
    if (known) return known;
    const thread = new Thread(this.olo, this.user, peer, this.signal);
    this.threads.set(peer, thread);
    void thread.anew();
    return thread;
  }

  async readGifts() {
    this.gifts = await decided(() => this.olo.GET('/v1/gifts'));
  }

  private page(before: string | null) {
    const query = before === null ? {} : { before };
    return decided(() => this.olo.GET('/v1/chats', { params: { query } }));
  }

  private async read() {
    const { chats, next_before } = await this.page(null);
    this.list = chats;
    this.before = next_before ?? null;
  }

  async more() {
    const { chats, next_before } = await this.page(this.before);
    const users = new Set(this.list.map((chat) => chat.user));
    this.list = [...this.list, ...chats.filter((chat) => !users.has(chat.user))];
    this.before = next_before ?? null;
  }

  told({ name, data }: Told) {
    if (name === 'BadgeChanged') this.unread = data.unread;
    if (name === 'Typing') this.threads.get(data.user)?.types();
    if (name === 'ItemPosted') void this.thread(data.user, data.peer)?.posted(data);
    if (name === 'MessageEdited') this.thread(data.sender, data.receiver)?.edited(data.seq, data.at, data.text);
    if (name === 'MessageDeleted') this.thread(data.sender, data.receiver)?.deleted(data.seq);
    if (name === 'ItemHidden') this.thread(data.user, data.peer)?.hidden(data.seq);
    if (name === 'ChatRead' && data.peer === this.user) this.readBy(data.user, data.seq);
    if (MOVES.has(name)) this.moved();
  }

  /** The list is read now, and once more: what the feed tells may come before what the list is read from. */
  private moved() {
    void this.readList();
    clearTimeout(this.following);
    this.following = setTimeout(() => void this.readList(), LATER_MS);
  }

  private readBy(peer: string, seq: number) {
    const thread = this.threads.get(peer);
    if (thread) thread.peerRead = Math.max(thread.peerRead, seq);
  }

  private thread(one: string, other: string): Thread | undefined {
    return this.threads.get(one === this.user ? other : one);
  }
}
