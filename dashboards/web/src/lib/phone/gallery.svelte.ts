// Whom a phone sees: pages of the gallery, moved by its stream. To miss nothing the stream is opened first.
import { decided, type Olo, type Schemas } from '../olo';
import type { Pass } from '../pass';
import { once } from './doing.svelte';
import { follow, type FeedEvent } from './feed';
import { changed, joined, type Card, type Change } from './gallery';

const PAGE = 20;

export class Gallery {
  cards = $state.raw<Card[]>([]);
  cursor = $state<string | null>(null);
  ready = $state(false);
  readonly read = once(() => this.readFirst());
  private meanwhile: Change[] | null = null;

  constructor(
    private readonly olo: Olo,
    private readonly pass: Pass
  ) {}

  /** Follow the changes; ends when what it returns is called. A browser opens few connections: only who looks follows. */
  open(): () => void {
    const stop = new AbortController();
    void this.watch(stop.signal);
    return () => stop.abort();
  }

  private async watch(signal: AbortSignal) {
    const options = { token: this.pass.ready, path: '/v1/gallery/stream?explain=true', signal, onLine: () => {} };
    for await (const event of follow(options)) this.told(event);
  }

  private told({ name, data }: FeedEvent) {
    if (name === 'ready' || name === 'again') void this.read();
    if (name === 'card') this.change({ card: data as unknown as Card });
    if (name === 'gone') this.change({ gone: String(data.user) });
  }

  private change(change: Change) {
    this.meanwhile?.push(change);
    this.cards = changed(this.cards, change, this.cursor !== null);
  }

  private async page(cursor: string | null) {
    const query = { limit: PAGE, explain: true, ...(cursor && { cursor }) };
    return decided(() => this.olo.GET('/v1/gallery', { params: { query } }));
  }

  private async readFirst() {
    const changes: Change[] = (this.meanwhile = []);
    const { cards, cursor } = await this.page(null);
    this.meanwhile = null;
    this.cards = changes.reduce((known, change) => changed(known, change, cursor !== null), cards);
    this.cursor = cursor;
    this.ready = true;
  }

  async more() {
    const { cards, cursor } = await this.page(this.cursor);
    this.cards = joined(this.cards, cards);
    this.cursor = cursor;
  }

  async favourite(user: string, on: boolean) {
    const params = { path: { user } };
    if (on) await decided(() => this.olo.PUT('/v1/favorites/{user}', { params }));
    else await decided(() => this.olo.DELETE('/v1/favorites/{user}', { params }));
    await this.read();
  }

  async block(user: string, reason: Schemas['BlockReason']) {
    await decided(() => this.olo.PUT('/v1/blocks/{user}', { params: { path: { user } }, body: { reason } }));
    this.change({ gone: user });
  }
}
