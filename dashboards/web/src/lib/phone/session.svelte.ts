// A phone that somebody has signed in on: its feed, and the parts that are told by it.
import { clientOf, decided, Refused, type Olo } from '../olo';
import type { Pass } from '../pass';
import { Calls } from './calls.svelte';
import { Chats } from './chats.svelte';
import { Coins } from './coins.svelte';
import { patiently } from './doing.svelte';
import { follow, type FeedEvent, type Line } from './feed';
import { Gallery } from './gallery.svelte';
import { Notices } from './notices.svelte';
import { Shop } from './shop.svelte';
import type { Part, Told } from './told';

const KNOWN = 'already_signed_up';
const READS = 5;
const OPENINGS = 20;
const READ_AGAIN_MS = 1000;
export const PAGES = ['home', 'people', 'chats', 'notices'] as const;
export type Page = (typeof PAGES)[number];

export class Session {
  line = $state<Line>('connecting');
  gap = $state(false);
  page = $state<Page>('home');
  /** Whose chat is open on the page of chats; empty: the list is. */
  peer = $state('');
  readonly user: string;
  readonly coins: Coins;
  readonly calls: Calls;
  readonly chats: Chats;
  readonly gallery: Gallery;
  readonly notices: Notices;
  readonly shop: Shop;
  private readonly parts: Part[];
  private readonly stop = new AbortController();
  readonly olo: Olo;

  private constructor(
    readonly pass: Pass,
    private readonly device: string
  ) {
    const { user } = pass;
    this.user = user;
    this.olo = clientOf(pass, device);
    this.coins = new Coins(this.olo);
    this.calls = new Calls(this.olo, user);
    this.chats = new Chats(this.olo, user, this.stop.signal);
    this.gallery = new Gallery(this.olo, pass);
    this.notices = new Notices(this.olo, (one) => one.kind === 'call_incoming' || (this.page === 'chats' && one.peer !== '' && one.peer === this.peer));
    this.shop = new Shop(this.olo, user);
    this.parts = [this.coins, this.calls, this.chats, this.notices, this.shop];
  }

  /** Sign up where nobody has this name yet, and follow the feed from the balance on. */
  static async of(pass: Pass): Promise<Session> {
    const found = new Session(pass, `web-${crypto.randomUUID()}`);
    await found.signUp();
    // the accounts of who has just signed up are opened behind that, by another flow
    for (const part of found.parts) await patiently(() => part.anew(), OPENINGS, READ_AGAIN_MS, (why) => why.status === 404);
    void found.watch();
    return found;
  }

  /** Show the chat with somebody. */
  write(peer: string) {
    this.peer = peer;
    this.page = 'chats';
    this.notices.seen(peer);
  }

  /** Show a page. */
  turn(page: Page) {
    this.peer = '';
    this.page = page;
  }

  leave() {
    this.stop.abort();
    this.notices.leave();
    this.pass.end();
  }

  private async signUp() {
    const params = { header: { 'Idempotency-Key': crypto.randomUUID() } };
    const body = { platform: 'web', locale: navigator.language };
    await decided(() => this.olo.POST('/v1/users', { params, body })).catch((error: unknown) => {
      if (!(error instanceof Refused && error.code === KNOWN)) throw error;
    });
  }

  private async watch() {
    const onLine = (line: Line) => {
      this.line = line;
      if (line === 'live') this.shop.resend();
    };
    const { pass, device } = this;
    const cursor = this.coins.balance?.cursor ?? '';
    for await (const event of follow({ token: pass.ready, device, cursor, signal: this.stop.signal, onLine })) await this.told(event);
  }

  /** A part reads anew; one that cannot, for minutes, shows what it had, and the feed goes on. */
  private async anew(part: Part) {
    await patiently(() => part.anew(), READS, READ_AGAIN_MS).catch((error: unknown) => {
      if (!(error instanceof Refused)) throw error;
    });
  }

  private async told(event: FeedEvent) {
    if (event.name === 'gap') {
      this.gap = true;
      for (const part of this.parts) await this.anew(part);
    }
    for (const part of this.parts) part.told(event as unknown as Told);
  }
}
