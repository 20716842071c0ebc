// Buying on a phone by the stand-in for the App Store, which development has: an intent, what the store signs of it, and the
// public API, which takes it until it is decided. What is bought and not credited yet is in the page's memory.
import { asked, decided, Refused, type Olo, type Schemas } from '../olo';
import { Doing } from './doing.svelte';
import { countryOf, offersIn, type Offer } from './shop';
import type { Part, Told } from './told';

/** `waits`: somebody else has to agree at the store; `open`: paid, and not decided; `refused`: it is for good. */
export type Standing = 'offered' | 'waits' | 'paying' | 'open' | 'credited' | 'refunded' | 'failed' | 'refused';

export class Purchase {
  standing = $state<Standing>('offered');
  readonly doing = new Doing();
  readonly key = crypto.randomUUID();
  signed = '';
  purchase = '';

  constructor(
    readonly offer: Offer,
    readonly intent: Schemas['IntentAnswer']
  ) {}
}

const SHOWN = 20;
const STORE = '/development/store/';

export class Shop implements Part {
  offers = $state.raw<Offer[]>([]);
  purchases = $state.raw<Purchase[]>([]);
  /** What the store's sheet asks about. */
  sheet = $state.raw<Purchase | null>(null);
  readonly doing = new Doing();

  constructor(
    private readonly olo: Olo,
    private readonly user: string
  ) {}

  /** Behind a gap of the feed, where somebody has looked. */
  async anew() {
    if (this.offers.length) await this.read();
  }

  async read() {
    const products = await decided(() => this.olo.GET('/v1/products'));
    const params = { path: { user: this.user } };
    const profile = await decided(() => this.olo.GET('/v1/profiles/{user}', { params })).catch((error: unknown) => {
      if (error instanceof Refused && error.status === 404) return null; // nobody has to have one
      throw error;
    });
    this.offers = offersIn(countryOf(profile?.country ?? '', navigator.language), products);
  }

  told({ name, data }: Told) {
    if (name !== 'PurchaseRefunded') return;
    const known = this.purchases.find((one) => one.purchase === data.purchase);
    if (known) known.standing = 'refunded';
  }

  /** Open an intent, and the store's sheet for it. */
  async begin(offer: Offer) {
    if (this.doing.busy || this.sheet) return;
    const params = { header: { 'Idempotency-Key': crypto.randomUUID() } };
    const body = { product: offer.product.product };
    await this.doing.run(async () => {
      const intent = await decided(() => this.olo.POST('/v1/payments/intents', { params, body }));
      this.sheet = new Purchase(offer, intent);
    });
  }

  /** What was chosen on the sheet; once, however often it is clicked. */
  async choose(what: 'pay' | 'wait' | 'fail' | 'cancel') {
    const purchase = this.sheet;
    this.sheet = null;
    if (!purchase || what === 'cancel') return;
    this.purchases = [purchase, ...this.purchases].slice(0, SHOWN);
    if (what === 'pay') await this.pay(purchase);
    else purchase.standing = what === 'wait' ? 'waits' : 'failed';
  }

  /** Whoever had to agree does not. */
  forget(purchase: Purchase) {
    this.purchases = this.purchases.filter((one) => one !== purchase);
  }

  /** The store signs, and the platform is told until it has decided. The same again counts once. */
  async pay(purchase: Purchase) {
    if (!['offered', 'waits', 'open'].includes(purchase.standing)) return;
    purchase.standing = 'paying';
    const done = await purchase.doing.run(async () => {
      purchase.signed ||= await this.sold(purchase);
      const body = { signed_transaction: purchase.signed };
      const credited = await decided(() => this.olo.POST('/v1/payments/apple', { body }));
      purchase.purchase = credited.purchase;
    });
    if (done) purchase.standing = 'credited';
    else purchase.standing = purchase.doing.problem?.open ? 'open' : 'refused';
  }

  /** What has no answer yet is sent once more. */
  resend() {
    for (const one of this.purchases) if (one.standing === 'open') void this.pay(one);
  }

  /** The store gives the money back, and tells the platform; the feed tells the rest. */
  async refund(purchase: Purchase) {
    await purchase.doing.run(async () => {
      const body = { signed_transaction: purchase.signed };
      const notification = await asked<{ signedPayload: string }>(`${STORE}refunds`, body);
      await asked('/v1/webhooks/apple', notification);
    });
  }

  private async sold({ offer, intent }: Purchase): Promise<string> {
    const { country = '', currency = '', price_milliunits = 0 } = offer.price ?? {};
    const body = { intent: intent.intent, product: intent.apple_id, country, currency, price_milliunits };
    return (await asked<{ signed_transaction: string }>(`${STORE}purchases`, body)).signed_transaction;
  }
}
