import { expect, test } from 'vitest';
import type { Olo } from '../olo';
import { Staff, type Page, type Permission } from './staff';

const ROWS: [Permission[], Page[]][] = [
  [[], ['People']],
  [['people.look', 'people.change'], ['People']],
  [['money.look'], ['People', 'Payouts', 'Approvals', 'Products']],
  [['audit.look'], ['People', 'Audit']]
];

test.each(ROWS)('what %s allow is offered, and nothing else', (permissions, pages) => {
  expect(new Staff({} as Olo, 'fin', [], permissions).pages).toEqual(pages);
});
