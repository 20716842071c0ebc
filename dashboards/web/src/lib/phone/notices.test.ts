import { describe, expect, it } from 'vitest';
import type { Schemas } from '../olo';
import { added, marked, noticeOf, noticeTold, type Notice } from './notices';

const notice = (notification: string, at: string): Notice =>
  noticeTold({ notification, kind: 'message', at } as Schemas['Notified']);
const names = (found: Notice[]) => found.map((one) => one.notification).join('');

describe('notices', () => {
  const known = [notice('b', '2030-01-02T00:00:00Z'), notice('a', '2030-01-01T00:00:00Z')];

  it('are each there once, newest first, and no more than so many', () => {
    const more = [notice('c', '2030-01-03T00:00:00Z'), notice('b', '2030-01-02T00:00:00Z')];
    expect(names(added(known, more, 50))).toBe('cba');
    expect(names(added(known, more, 2))).toBe('cb');
    expect(names(added(known, [notice('0', '2029-01-01T00:00:00Z')], 50))).toBe('ba0');
  });

  it('keep what was known of them when they come again', () => {
    const acked = marked(known, 'b', { acked: true });
    expect(added(acked, [notice('b', '2030-01-02T00:00:00Z')], 50)[0]?.acked).toBe(true);
  });

  it('of a page say whether they were acknowledged or withdrawn', () => {
    const one = { notification: 'n', kind: 'notice', at: 'T', acked_at: 'T', withdrawn: 'deleted' } as unknown as Schemas['NotificationAnswer'];
    expect(noticeOf(one)).toMatchObject({ acked: true, withdrawn: true });
    expect(noticeOf({ ...one, acked_at: null, withdrawn: null })).toMatchObject({ acked: false, withdrawn: false });
  });
});
