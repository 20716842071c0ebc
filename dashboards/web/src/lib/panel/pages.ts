// The panel's pages and acts, as data: under which permission each is offered, and from where it is loaded when it is turned to.
import type { Component } from 'svelte';
import type { Permission, Staff } from './staff';

type Loaded = Promise<{ default: Component<{ staff: Staff }> }>;

export interface PageEntry {
  group: string;
  /** The permission without which it is not offered; null: it is for all of staff. */
  needs: Permission | null;
  load: () => Loaded;
}

export const PAGES = {
  Now: { group: 'Live', needs: 'money.look', load: () => import('./Now.svelte') },
  People: { group: 'People', needs: null, load: () => import('./People.svelte') },
  Calls: { group: 'People', needs: 'money.look', load: () => import('./Calls.svelte') },
  Reports: { group: 'People', needs: 'reports.look', load: () => import('./Reports.svelte') },
  Payouts: { group: 'Money', needs: 'money.look', load: () => import('./Payouts.svelte') },
  Approvals: { group: 'Money', needs: 'money.look', load: () => import('./Approvals.svelte') },
  Products: { group: 'Money', needs: 'money.look', load: () => import('./Products.svelte') },
  Tariffs: { group: 'Money', needs: 'money.look', load: () => import('./Tariffs.svelte') },
  Cohorts: { group: 'Growth', needs: 'growth.look', load: () => import('./Cohorts.svelte') },
  Gallery: { group: 'Growth', needs: 'rules.look', load: () => import('./Gallery.svelte') },
  Notifications: { group: 'Growth', needs: 'growth.look', load: () => import('./Notifications.svelte') },
  Attribution: { group: 'Growth', needs: 'growth.look', load: () => import('./Attribution.svelte') },
  Log: { group: 'Platform', needs: 'log.look', load: () => import('./Log.svelte') },
  'Dead letters': { group: 'Platform', needs: 'log.look', load: () => import('./DeadLetters.svelte') },
  Questions: { group: 'Platform', needs: 'warehouse.look', load: () => import('./Questions.svelte') },
  Outbox: { group: 'Platform', needs: 'log.look', load: () => import('./Outbox.svelte') },
  Timetable: { group: 'Platform', needs: 'jobs.look', load: () => import('./Timetable.svelte') },
  Migration: { group: 'Platform', needs: 'rules.look', load: () => import('./Migration.svelte') },
  Settings: { group: 'Platform', needs: 'log.look', load: () => import('./Settings.svelte') },
  Audit: { group: 'Staff', needs: 'audit.look', load: () => import('./Audit.svelte') }
} as const satisfies Record<string, PageEntry>;
export type Page = keyof typeof PAGES;

export interface ActEntry {
  /** As on its button. */
  label: string;
  page: Page;
  needs: Permission;
}

/** Acts whose button stands on a page by itself, and not beside a thing that has to be found first. */
export const ACTS: readonly ActEntry[] = [
  { label: 'Ask for a payout', page: 'Payouts', needs: 'money.change' },
  { label: 'New product', page: 'Products', needs: 'money.change' }
];

/** The pages that somebody is offered. */
export function pagesOf(staff: Staff): Page[] {
  return (Object.keys(PAGES) as Page[]).filter((page) => {
    const needed = PAGES[page].needs;
    return needed === null || staff.may(needed);
  });
}

/** Likewise, by group, in the order of the first page of each. */
export function groupsOf(staff: Staff): [string, Page[]][] {
  const found = new Map<string, Page[]>();
  for (const page of pagesOf(staff)) {
    const { group } = PAGES[page];
    found.set(group, [...(found.get(group) ?? []), page]);
  }
  return [...found];
}

/** The acts that somebody is offered. */
export function actsOf(staff: Staff): ActEntry[] {
  const pages = pagesOf(staff);
  return ACTS.filter(({ page, needs }) => pages.includes(page) && staff.may(needs));
}

/** Something that the palette goes to. */
export interface Choice {
  label: string;
  /** What it is, in a word. */
  kind: string;
  page: Page;
  act?: string;
  person?: string;
}

// What may be a user's id; the platform has the last word.
const USER = /^[^/@\s"\\]{1,128}$/;

/** What the palette offers for what is typed: pages, acts, and the person of that id. */
export function choicesOf(staff: Staff, typed: string): Choice[] {
  const wanted = typed.trim().toLowerCase();
  const words = wanted.split(/\s+/).filter(Boolean);
  const all: Choice[] = [
    ...pagesOf(staff).map((page): Choice => ({ label: page, kind: PAGES[page].group, page })),
    ...actsOf(staff).map(({ label, page }): Choice => ({ label, kind: page, page, act: label }))
  ];
  const fits = ({ label, kind }: Choice) => words.every((word) => `${label} ${kind}`.toLowerCase().includes(word));
  const begins = (one: Choice) => (one.label.toLowerCase().startsWith(wanted) ? 0 : 1);
  const found = all.filter(fits).sort((one, other) => begins(one) - begins(other));
  if (USER.test(typed.trim())) found.push({ label: typed.trim(), kind: 'person', page: 'People', person: typed.trim() });
  return found;
}
