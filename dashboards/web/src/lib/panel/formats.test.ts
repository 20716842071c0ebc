import { expect, test } from 'vitest';
import { counted, money, reasonHeader } from './formats';

test('numbers and money', () => {
  expect(counted(1_001)).toBe('1,001');
  expect(money(480, 'EUR')).toBe('€4.80');
  expect(money(0, 'EUR')).toBe('€0.00');
  expect(money(0, '')).toBe('0');
});

test.each(['ticket 4711', 'läuft', 'причина', '理由 😀'])('a reason goes through a header: %s', (why) => {
  const sent = reasonHeader(why)['X-Reason'];
  expect([...sent].every((one) => one.charCodeAt(0) < 256)).toBe(true);
  expect(new TextDecoder().decode(Uint8Array.from(sent, (one) => one.charCodeAt(0)))).toBe(why);
});
