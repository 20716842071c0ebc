import { expect, test } from 'vitest';
import type { Olo } from '../olo';
import type { Pass } from '../pass';
import { ACTS, actsOf, choicesOf, groupsOf, PAGES, pagesOf, type Page } from './pages';
import { Staff, type Permission } from './staff';

const staffOf = (...permissions: Permission[]): Staff => new Staff({} as Olo, {} as Pass, [], permissions);

const ROWS: [Permission[], Page[]][] = [
  [[], ['People']],
  [['people.change'], ['People']],
  [['money.look'], ['Now', 'People', 'Calls', 'Payouts', 'Approvals', 'Products', 'Tariffs']],
  [['audit.look'], ['People', 'Audit']]
];

test.each(ROWS)('what %s allow is offered, and nothing else', (permissions, pages) => {
  expect(pagesOf(staffOf(...permissions))).toEqual(pages);
  expect(groupsOf(staffOf(...permissions)).flatMap(([, found]) => found)).toEqual(pages);
});

test('acts are those of pages that are offered, and take a permission of their own', () => {
  expect(actsOf(staffOf('money.look'))).toEqual([]);
  expect(actsOf(staffOf('money.change'))).toEqual([]);
  expect(actsOf(staffOf('money.look', 'money.change')).map(({ page }) => PAGES[page].needs)).toContain('money.look');
});

test('the palette finds pages, acts and persons, and what begins so stands first', () => {
  const labels = (typed: string) => choicesOf(staffOf('money.look', 'money.change'), typed).map(({ label }) => label);
  expect(labels('pay').slice(0, 2)).toEqual(['Payouts', 'Ask for a payout']);
  expect(labels('PRODUCT')[0]).toBe('Products');
  expect(labels('ann')).toEqual(['ann']);
  expect(labels('nothing of this kind')).toEqual([]);
  expect(labels('')).not.toContain('Audit');
  expect(choicesOf(staffOf(), 'ann')[0]).toMatchObject({ page: 'People', person: 'ann' });
});

// --- what the panel offers is what the API allows: by the API's own document --------------------------------------------------

type Operation = { 'x-permission'?: Permission };
const [document = '{}'] = Object.values(import.meta.glob<string>('../../../openapi.json', { query: '?raw', import: 'default', eager: true }));
const DOCUMENT = JSON.parse(document) as { paths: Record<string, Record<string, Operation>> };
const SOURCES = import.meta.glob<string>(['./*.svelte', '../Person.svelte'], { query: '?raw', import: 'default', eager: true });
const sourceOf = (file: string): string => SOURCES[file] ?? '';
const ASKED = /\.(GET|PUT|POST|DELETE)\(\s*'(\/v1\/[^']+)'/g;

/** What a part asks of staff's routes: operation and permission. */
function asked(file: string): [string, Permission][] {
  return [...sourceOf(file).matchAll(ASKED)].flatMap(([, method = '', path = '']) => {
    const permission = DOCUMENT.paths[path]?.[method.toLowerCase()]?.['x-permission'];
    return permission ? [[`${method} ${path}`, permission] as [string, Permission]] : [];
  });
}

/** The permissions that a part asks for before it shows something of its own. */
const guarded = (file: string): string[] => [...sourceOf(file).matchAll(/may\('([a-z.]+)'\)/g)].map(([, one = '']) => one);

/** The parts of which a part is made, itself first. */
function parts(file: string, known: string[] = []): string[] {
  if (known.includes(file)) return known;
  known.push(file);
  for (const [, name = ''] of sourceOf(file).matchAll(/from '[^']*\/(\w+)\.svelte'/g)) {
    const found = Object.keys(SOURCES).find((one) => one.endsWith(`/${name}.svelte`));
    if (found) parts(found, known);
  }
  return known;
}

const fileOf = (page: Page): string => `./${page.replace(/ (\w)/g, (_, letter: string) => letter.toUpperCase())}.svelte`;

test('the pages are in files of their names', () => {
  expect((Object.keys(PAGES) as Page[]).filter((page) => !sourceOf(fileOf(page)))).toEqual([]);
});

test.each(Object.keys(PAGES) as Page[])('%s asks for nothing that its permission, or a look at the roles, does not allow', (page) => {
  const found = parts(fileOf(page));
  const known = [PAGES[page].needs, ...found.flatMap(guarded)];
  const wrong = found.flatMap(asked).filter(([, permission]) => !known.includes(permission));
  expect(wrong).toEqual([]);
});

test.each(ACTS)('the act $label is a button of its page, under its permission', ({ label, page, needs }) => {
  const found = parts(fileOf(page));
  expect(found.some((file) => sourceOf(file).includes(label))).toBe(true);
  expect(found.flatMap(guarded)).toContain(needs);
});
