// What the API says of something while it is typed: asked a moment behind the last change, and what was said of an older text
// does not count.
import { Refused } from '../olo';

const AFTER_MS = 400;

export class Preview<Answer> {
  answer = $state.raw<Answer | null>(null);
  wrong = $state('');

  /** Forget what was said. */
  clear(wrong = '') {
    this.answer = null;
    this.wrong = wrong;
  }

  /** Ask soon, for an effect: what is given back takes it back, when something else is typed. */
  soon(ask: () => Promise<Answer>): () => void {
    let changed = false;
    const look = async () => {
      try {
        const found = await ask();
        if (!changed) [this.answer, this.wrong] = [found, ''];
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        if (!changed) this.wrong = error.message;
      }
    };
    const timer = setTimeout(() => void look(), AFTER_MS);
    return () => {
      changed = true;
      clearTimeout(timer);
    };
  }
}
