// What happens now, as the platform's one stream tells it, and the clock by which a number is stale.
import { follow, type Line } from '../phone/feed';
import { told, type Numbers, type Row } from './now';
import type { Staff } from './staff';

export class Now {
  numbers = $state.raw<Numbers>({});
  line = $state<Line>('connecting');
  clockMs = $state(Date.now());
  private pointS = 5;

  constructor(private readonly staff: Staff) {}

  /** Follow the stream; ends when what it returns is called. */
  open(): () => void {
    const stop = new AbortController();
    const timer = setInterval(() => (this.clockMs = Date.now()), 1000);
    void this.watch(stop.signal);
    return () => {
      clearInterval(timer);
      stop.abort();
    };
  }

  private async watch(signal: AbortSignal) {
    const options = { token: this.staff.pass.ready, path: '/v1/admin/now', signal, onLine: (line: Line) => (this.line = line) };
    for await (const { name, data } of follow(options)) {
      if (name !== 'snapshot' && name !== 'numbers') continue;
      this.pointS = Number(data['point_s'] ?? this.pointS);
      this.numbers = told(this.numbers, name, data['numbers'] as Row[], this.pointS);
      this.line = 'live';
    }
  }
}
