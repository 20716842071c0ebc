// How the panel writes numbers, times and money, and how it sends a reason.
const NUMBER = new Intl.NumberFormat('en');
const MOMENT = new Intl.DateTimeFormat('en-GB', { dateStyle: 'short', timeStyle: 'medium' });

export const counted = (count: number): string => NUMBER.format(count);

export const moment = (at: string): string => MOMENT.format(new Date(at));

/** `cents`: hundredths of the currency, which a payout that is still being drawn does not have. */
export function money(cents: number, currency: string): string {
  if (!currency) return NUMBER.format(cents / 100);
  return new Intl.NumberFormat('en', { style: 'currency', currency }).format(cents / 100);
}

/** A reason as a header: its bytes in UTF-8, each as one character, since a browser sends no others in a header. */
export function reasonHeader(why: string): { 'X-Reason': string } {
  return { 'X-Reason': Array.from(new TextEncoder().encode(why), (byte) => String.fromCharCode(byte)).join('') };
}

/** Where a record of the log stands. */
export const placeOf = (one: { topic: string; partition: number; offset: number }): string =>
  `${one.topic}/${one.partition}/${one.offset}`;

/** JSON with its lines; whatever is none as it is. */
export function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
