// What a phone can buy, and for how much: pure.
import type { Schemas } from '../olo';

export type Product = Schemas['ProductAnswer'];
export type Price = Schemas['PriceBody'];

export interface Offer {
  product: Product;
  /** Null: whatever the store says. */
  price: Price | null;
}

/** What is sold in a country by the App Store, the fewest coins first. Subscriptions are not: the stand-in sells none. */
export function offersIn(country: string, products: readonly Product[]): Offer[] {
  return products
    .filter(({ active, renewing, apple_id }) => active !== false && !renewing && apple_id)
    .map((product) => ({ product, price: priceIn(country, product) }))
    .filter((one): one is Offer => one.price !== undefined)
    .sort((one, other) => one.product.coins - other.product.coins || (one.product.product < other.product.product ? -1 : 1));
}

/** Undefined: it is not sold there. */
function priceIn(country: string, { prices = [] }: Product): Price | null | undefined {
  if (!prices.length) return null;
  const own = prices.find((one) => one.country === country);
  return own ?? prices.find((one) => !one.country);
}

/** A country by the profile, or else by the browser's language: `en-US` is of the US. */
export function countryOf(profile: string, locale: string): string {
  if (/^[A-Z]{2}$/.test(profile)) return profile;
  return new Intl.Locale(locale).maximize().region ?? '';
}

/** A price as a person of this language writes it. */
export function priced(price: Price, language: string): string {
  return new Intl.NumberFormat(language, { style: 'currency', currency: price.currency }).format(price.price_milliunits / 1000);
}
