// What is on the desk of who is at the panel: the page, and what one page hands to another. In memory only, never in the address.
import type { Asked } from './asked.svelte';
import type { Page } from './pages';

interface Desk {
  page: Page;
  /** The label of an act that is to be opened as soon as its button is there. */
  act: string;
  /** The person whom People shows. */
  person: string;
  /** The act whose dialog is open. */
  asked: Asked | null;
}

export const desk: Desk = $state({
  page: 'People',
  act: '',
  person: '',
  asked: null
});

/** Turn to a page. */
export function turn(page: Page, act = '') {
  desk.page = page;
  desk.act = act;
}

/** Show a person. */
export function show(user: string) {
  desk.person = user;
  turn('People');
}
