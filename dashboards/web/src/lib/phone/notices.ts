// What a phone was told of, newest first, and each once.
import type { Schemas } from '../olo';

export interface Notice {
  notification: string;
  kind: Schemas['NotificationKind'];
  at: string;
  peer: string;
  title: string;
  body: string;
  acked: boolean;
  withdrawn: boolean;
}

/** As a page of the API has it. */
export function noticeOf(one: Schemas['NotificationAnswer']): Notice {
  const { notification, kind, at, peer, title, body } = one;
  return { notification, kind, at, peer, title, body, acked: one.acked_at !== null, withdrawn: one.withdrawn !== null };
}

/** As the feed tells it. */
export function noticeTold(one: Schemas['Notified']): Notice {
  const { notification, kind, at, peer = '', title = '', body = '' } = one;
  return { notification, kind, at, peer, title, body, acked: false, withdrawn: false };
}

/** With what comes, unless it is known: the feed may tell what a page had. */
export function added(notices: readonly Notice[], more: readonly Notice[], most: number): Notice[] {
  const known = new Set(notices.map((one) => one.notification));
  const all = [...more.filter((one) => !known.has(one.notification)), ...notices];
  return all.sort((one, other) => Date.parse(other.at) - Date.parse(one.at)).slice(0, most);
}

/** With one changed. */
export function marked(notices: readonly Notice[], notification: string, change: Partial<Notice>): Notice[] {
  return notices.map((one) => (one.notification === notification ? { ...one, ...change } : one));
}
