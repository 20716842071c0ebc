import { expect, it } from 'vitest';
import { lasted } from './times';

it.each([
  [0, '0:00'],
  [7.9, '0:07'],
  [65, '1:05'],
  [3600, '1:00:00'],
  [36_061, '10:01:01'],
  [-3, '0:00']
])('%d seconds are %s', (seconds, text) => expect(lasted(seconds)).toBe(text));
