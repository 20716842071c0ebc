// What a phone was told of: each occurrence is acknowledged when the phone shows it, so that nothing is pushed for it.
import { decided, Refused, type Olo } from '../olo';
import { added, marked, noticeOf, noticeTold, type Notice } from './notices';
import type { Part, Told } from './told';

const MOST = 50;
const SHOWN_MS = 8000;

export class Notices implements Part {
  list = $state.raw<Notice[]>([]);
  unread = $state(0);
  /** The one that has just come; null: it has been shown long enough. */
  latest = $state.raw<Notice | null>(null);
  private hiding: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly olo: Olo,
    /** Whether the phone shows it anyway: the chat that is open, or the call that rings. */
    private readonly shows: (notice: Notice) => boolean
  ) {
    document.addEventListener('visibilitychange', this.acknowledge);
  }

  leave() {
    document.removeEventListener('visibilitychange', this.acknowledge);
    clearTimeout(this.hiding);
  }

  async anew() {
    const { notifications, unread } = await decided(() => this.olo.GET('/v1/notifications'));
    this.list = added([], notifications.map(noticeOf), MOST);
    this.unread = unread;
    this.acknowledge();
  }

  told({ name, data }: Told) {
    if (name === 'Notified') {
      const notice = noticeTold(data);
      if (this.list.some((one) => one.notification === notice.notification)) return;
      this.list = added(this.list, [notice], MOST);
      if (!this.shows(notice)) this.show(notice);
      this.acknowledge();
    }
    if (name === 'NotificationWithdrawn') this.list = marked(this.list, data.notification, { withdrawn: true });
    const over = name === 'NotificationWithdrawn' || (name === 'NotificationRead' && this.latest?.kind === 'message');
    if (over && this.latest?.notification === data.notification) this.latest = null;
    if (name === 'Notified' || name === 'NotificationRead' || name === 'NotificationWithdrawn') this.unread = data.unread ?? 0;
  }

  /** The chat with somebody is open: what was just told of them is seen. */
  seen(peer: string) {
    if (this.latest?.peer === peer) this.latest = null;
  }

  private show(notice: Notice) {
    this.latest = notice;
    clearTimeout(this.hiding);
    this.hiding = setTimeout(() => (this.latest = null), SHOWN_MS);
  }

  /** A page that nobody looks at has shown nothing yet: then a push may wake somebody. */
  private readonly acknowledge = () => {
    if (document.visibilityState !== 'visible') return;
    for (const { notification, acked, withdrawn } of this.list) if (!acked && !withdrawn) void this.ack(notification);
  };

  private async ack(notification: string) {
    this.list = marked(this.list, notification, { acked: true });
    const params = { path: { notification } };
    await decided(() => this.olo.POST('/v1/notifications/{notification}/ack', { params })).catch((error: unknown) => {
      if (!(error instanceof Refused)) throw error;
      if (error.open) this.list = marked(this.list, notification, { acked: false }); // with the next one, or after a gap
    });
  }
}
