// A phone's coins: read once, and then moved by what the feed tells.
import { follow, type FeedEvent, type Line } from './feed';
import { clientOf, decided, developmentToken, Refused, type Olo, type Schemas } from './olo';

const SHOWN = 20;
const KNOWN = 'already_signed_up';

export class Account {
  balance = $state<Schemas['BalanceAnswer'] | null>(null);
  news = $state<Schemas['EntryRecorded'][]>([]);
  line = $state<Line>('connecting');
  gap = $state(false);
  private stop = new AbortController();

  private constructor(
    readonly user: string,
    private readonly olo: Olo,
    private readonly token: string
  ) {}

  /** Sign in, sign up where nobody has this name yet, and follow the feed from the balance on. */
  static async of(user: string): Promise<Account> {
    const token = await developmentToken(user, 'user');
    const found = new Account(user, clientOf(token), token);
    await found.signUp();
    await found.read();
    void found.watch();
    return found;
  }

  leave() {
    this.stop.abort();
  }

  private async signUp() {
    const params = { header: { 'Idempotency-Key': crypto.randomUUID() } };
    const body = { platform: 'web', locale: navigator.language };
    await decided(() => this.olo.POST('/v1/users', { params, body })).catch((error: unknown) => {
      if (!(error instanceof Refused && error.code === KNOWN)) throw error;
    });
  }

  private async read() {
    this.balance = await decided(() => this.olo.GET('/v1/balance'));
  }

  private async watch() {
    const onLine = (line: Line) => void (this.line = line);
    const cursor = this.balance?.cursor ?? '';
    for await (const event of follow({ token: this.token, cursor, signal: this.stop.signal, onLine })) await this.told(event);
  }

  private async told({ name, data }: FeedEvent) {
    if (name === 'gap') {
      this.gap = true;
      await this.read();
    }
    if (name !== 'EntryRecorded') return;
    const entry = data as unknown as Schemas['EntryRecorded'];
    if (!this.balance || entry.account !== this.balance.account || entry.seq <= this.balance.seq) return;
    const { balance_coins, held_coins, seq } = entry;
    this.balance = { ...this.balance, balance_coins, held_coins, seq, available_coins: balance_coins - held_coins };
    this.news = [entry, ...this.news].slice(0, SHOWN);
  }
}
