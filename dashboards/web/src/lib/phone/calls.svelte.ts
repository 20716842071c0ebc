// The call of a phone: it rings, runs and ends as the feed tells; what it costs is read from its receipt.
import { decided, Refused, type Olo } from '../olo';
import { secondsOf, type Receipt } from './call';
import { once } from './doing.svelte';
import type { Part, Told } from './told';

const READS = 20;
const AGAIN_MS = 300;

export interface Call {
  call: string;
  peer: string;
  /** This phone's user has called. */
  mine: boolean;
  status: 'ringing' | 'connected' | 'ended';
  reason: string;
  cutAt: string | null;
  capped: boolean;
}

export class Calls implements Part {
  current = $state.raw<Call | null>(null);
  receipt = $state.raw<Receipt | null>(null);
  looking = $state(false);
  /** How long the call had lasted when the page's own clock (`performance.now()`, ms) was `since`. */
  private base = $state.raw({ seconds: 0, since: 0 });
  /** What the feed has told of the bill, which the receipt may not have yet. */
  private bill = { paid: 0, closed: false };
  private readonly readReceipt = once(() => this.read());

  constructor(
    private readonly olo: Olo,
    private readonly user: string
  ) {}

  /** How long the call has lasted, by the receipt and the time since it was read. */
  seconds(now: number): number {
    if (this.current?.status !== 'connected') return this.base.seconds;
    return this.base.seconds + Math.max(0, now - this.base.since) / 1000;
  }

  async place(to: string) {
    const params = { header: { 'Idempotency-Key': crypto.randomUUID() } };
    await decided(() => this.olo.POST('/v1/calls', { params, body: { to } }));
  }

  accept = () => this.say('accept');
  decline = () => this.say('decline');
  hangUp = () => this.say('hang-up');

  close() {
    if (this.current?.status === 'ended') this.current = this.receipt = null;
  }

  /** Wait for somebody, or do not any more. That one waits already is as good. */
  async look(on: boolean) {
    const answer = await (on ? this.olo.POST('/v1/roulette') : this.olo.DELETE('/v1/roulette')).catch(() => {
      throw new Refused('unreachable', 'the platform cannot be reached');
    });
    const problem = answer.error as { code?: string; detail?: string } | undefined;
    const settled = problem?.code === (on ? 'waiting' : 'not_waiting');
    if (problem && !settled) throw new Refused(problem.code ?? 'unknown', problem.detail ?? '');
    this.looking = on;
  }

  /** After a gap of the feed: the call as it stands. */
  async anew() {
    const known = this.current;
    if (!known || known.status === 'ended') return;
    const params = { path: { call: known.call } };
    const { status, reason } = await decided(() => this.olo.GET('/v1/calls/{call}', { params }));
    if (status !== 'placing') this.current = { ...known, status: status as Call['status'], reason: reason ?? '' };
    await this.readReceipt();
  }

  told({ name, data }: Told) {
    if (name === 'RouletteJoined') this.looking = true;
    if (name === 'RouletteLeft') this.looking = false;
    if (name === 'CallRinging') this.ring(data.call, data.caller, data.callee);
    if (name === 'EntryRecorded' && this.current?.status === 'connected') void this.readReceipt();
    const known = this.current;
    if (!known || !('call' in data) || data.call !== known.call) return;
    if (name === 'CallConnected') this.connect(known);
    if (name === 'CreditLow') this.current = { ...known, cutAt: data.cut_at, capped: Boolean(data.cap_room) };
    if (name === 'BillStepped') {
      this.current = { ...known, cutAt: null };
      this.bill.paid = data.paid_coins;
      void this.readReceipt();
    }
    if (name === 'CallEnded') {
      this.base = { seconds: data.duration_s ?? 0, since: 0 };
      this.current = { ...known, status: 'ended', reason: data.reason ?? 'ended' };
    }
    if (name === 'BillClosed') {
      this.bill.closed = true;
      void this.readReceipt();
    }
  }

  private ring(call: string, caller: string, callee: string) {
    if (this.current?.call === call) return;
    const mine = caller === this.user;
    this.looking = false;
    this.receipt = null;
    this.bill = { paid: 0, closed: false };
    this.base = { seconds: 0, since: 0 };
    this.current = { call, peer: mine ? callee : caller, mine, status: 'ringing', reason: '', cutAt: null, capped: false };
  }

  private connect(known: Call) {
    this.base = { seconds: 0, since: performance.now() };
    this.current = { ...known, status: 'connected' };
    void this.readReceipt();
  }

  private async read() {
    for (let left = READS; left > 0; left--) {
      const call = this.current?.call;
      if (!call) return;
      const receipt = await decided(() => this.olo.GET('/v1/calls/{call}/receipt', { params: { path: { call } } }));
      if (this.current?.call !== call) return;
      this.receipt = receipt;
      const seconds = secondsOf(receipt);
      if (seconds !== null) this.base = { seconds, since: performance.now() };
      if (receipt.closed || (!this.bill.closed && receipt.paid_coins >= this.bill.paid)) return;
      await new Promise((done) => setTimeout(done, AGAIN_MS));
    }
  }

  private async say(what: 'accept' | 'decline' | 'hang-up') {
    const call = this.current?.call;
    if (!call) return;
    const how = { params: { path: { call } } };
    if (what === 'accept') await decided(() => this.olo.POST('/v1/calls/{call}/accept', how));
    else if (what === 'decline') await decided(() => this.olo.POST('/v1/calls/{call}/decline', how));
    else await decided(() => this.olo.POST('/v1/calls/{call}/hang-up', how));
  }
}
