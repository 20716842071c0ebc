// A dangerous act that somebody is asked about: what its dialog shows and does. It stands on the desk, and not on the page whose
// button has opened it: whatever the page reads meanwhile, the dialog is there until the person closes it, or the act is done.
import type { Snippet } from 'svelte';
import { Doing } from '../phone/doing.svelte';
import { desk } from './desk.svelte';

/** What an act is made of: what it will do, in a sentence; what does it (`key`: its Idempotency-Key, the same until an attempt
 * is decided); and the fields beside the reason. */
export interface Doable {
  what: string;
  act: (why: string, key: string) => Promise<unknown>;
  children?: Snippet | undefined;
}

export class Asked {
  readonly doing = new Doing();
  why = $state('');
  /** As its button knew it last: a button that is gone says nothing new. */
  it = $state.raw<Doable>()!;
  private key = crypto.randomUUID();

  constructor(
    readonly label: string,
    it: Doable,
    private readonly over: () => void
  ) {
    this.it = it;
  }

  /** Send it; whether it was done. What is refused and decided is another act the next time. */
  async send(): Promise<boolean> {
    const done = await this.doing.run(() => this.it.act(this.why.trim(), this.key));
    if (!done && !this.doing.problem?.open) this.key = crypto.randomUUID();
    return done;
  }

  /** Nobody is asked any more. */
  close() {
    if (desk.asked === this) desk.asked = null;
    this.over();
  }
}
