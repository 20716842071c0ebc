// A phone's coins: read once, and then moved by what the feed tells.
import { decided, type Olo, type Schemas } from '../olo';
import type { Part, Told } from './told';

const SHOWN = 20;
type Balance = Schemas['BalanceAnswer'];

export class Coins implements Part {
  balance = $state<Balance | null>(null);
  earned = $state<Balance | null>(null);
  news = $state<Schemas['EntryRecorded'][]>([]);

  constructor(private readonly olo: Olo) {}

  /** Whether nothing goes out of the account. */
  get frozen(): boolean {
    return this.balance?.frozen ?? false;
  }

  async anew() {
    const of = (book: 'coins' | 'earnings') => decided(() => this.olo.GET('/v1/balance', { params: { query: { book } } }));
    this.balance = await of('coins');
    this.earned = await of('earnings');
  }

  told({ name, data }: Told) {
    if (name !== 'EntryRecorded') return;
    const coins = moved(this.balance, data);
    const earned = moved(this.earned, data);
    if (!coins && !earned) return;
    this.balance = coins ?? this.balance;
    this.earned = earned ?? this.earned;
    this.news = [data, ...this.news].slice(0, SHOWN);
  }
}

/** The balance behind an entry; null: the entry is another account's, or was known. */
function moved(balance: Balance | null, entry: Schemas['EntryRecorded']): Balance | null {
  if (!balance || entry.account !== balance.account || entry.seq <= balance.seq) return null;
  const { balance_coins, held_coins, seq, debt_coins = 0, frozen = false } = entry;
  return { ...balance, balance_coins, held_coins, seq, debt_coins, frozen, available_coins: balance_coins - held_coins };
}
