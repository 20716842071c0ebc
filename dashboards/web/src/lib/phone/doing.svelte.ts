// One thing at a time, and what was refused of it.
import { Refused } from '../olo';

export class Doing {
  busy = $state(false);
  problem = $state.raw<Refused | null>(null);
  private last: Promise<unknown> | null = null;

  /** Whether it was done; behind whatever runs already, so that no answer is mixed with another. Errors of the API are kept; all
   * others are thrown. */
  run(what: () => Promise<unknown>): Promise<boolean> {
    const mine = this.last ? this.last.then(() => this.alone(what)) : this.alone(what);
    const over = mine.catch(() => undefined).then(() => {
      if (this.last !== over) return;
      this.last = null;
      this.busy = false;
    });
    this.last = over;
    return mine;
  }

  private async alone(what: () => Promise<unknown>): Promise<boolean> {
    this.busy = true;
    this.problem = null;
    try {
      await what();
      return true;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.problem = error;
      return false;
    }
  }
}

/** What asks for `read`: it runs now; whoever asks meanwhile is answered by one run more, behind it. */
export function once(read: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | null = null;
  let following: Promise<void> | null = null;
  const run = async (): Promise<void> => {
    try {
      await read();
    } catch (error) {
      if (!(error instanceof Refused)) throw error; // what is refused, or away, is read with the next news
    } finally {
      running = null;
    }
  };
  return () => {
    if (!running) return (running = run());
    following ??= running.then(() => {
      following = null;
      return (running = run());
    });
    return following;
  };
}

/** What is asked for, again while it is refused, so many times at most: what was just told may not be there to be read yet.
 * `passes`: whether a refusal may pass. */
export async function patiently<T>(ask: () => Promise<T>, times: number, pauseMs: number, passes = (_: Refused) => true): Promise<T> {
  for (let left = times; ; left--) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof Refused) || left <= 1 || !passes(error)) throw error;
      await new Promise((done) => setTimeout(done, pauseMs));
    }
  }
}
