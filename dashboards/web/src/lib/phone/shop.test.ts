import { expect, test } from 'vitest';
import { countryOf, offersIn, priced, type Product } from './shop';

const product = (name: string, coins: number, more: Partial<Product> = {}): Product =>
  ({ product: name, version: 1, coins, apple_id: name, active: true, prices: [], ...more }) as Product;
const price = (country: string, currency: string, price_milliunits: number) => ({ country, currency, price_milliunits });

test('what is sold in a country, for its own price or for that of all others', () => {
  const prices = [price('', 'USD', 5_990), price('DE', 'EUR', 4_990)];
  const of = (country: string) => offersIn(country, [product('a', 1, { prices })]).map((one) => one.price?.currency);
  expect([of('DE'), of('FR'), of('')]).toEqual([['EUR'], ['USD'], ['USD']]);
  expect(offersIn('FR', [product('a', 1, { prices: [price('DE', 'EUR', 1)] })])).toEqual([]);
  expect(offersIn('FR', [product('a', 1)])[0]?.price).toBeNull();
});

test('neither what is off sale, nor a subscription, nor what the store does not know; the fewest coins first', () => {
  const others = [product('a', 1, { active: false }), product('b', 1, { renewing: true }), product('c', 1, { apple_id: '' })];
  const found = offersIn('DE', [product('y', 20), product('z', 5), product('x', 20), ...others]);
  expect(found.map((one) => one.product.product)).toEqual(['z', 'x', 'y']);
});

test('a country by the profile, or by the language', () => {
  expect(['DE', '', 'germany'].map((known) => countryOf(known, 'en-US'))).toEqual(['DE', 'US', 'US']);
  expect(countryOf('', 'ru')).toBe('RU');
  expect(priced(price('', 'EUR', 4_990), 'en')).toBe('€4.99');
});
