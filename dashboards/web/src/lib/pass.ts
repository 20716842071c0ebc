// Who somebody is to the API: a token, which is renewed before it expires. Tokens are in memory only.
import { Refused } from './olo';

export interface Tokens {
  token: string;
  refresh: string;
  livesS: number;
}

// So long before its end a token is renewed: a request that begins now is verified within.
const MARGIN_S = 300;

export class Pass {
  /** Settled when nobody renews the token any more, with why. */
  readonly over: Promise<Refused>;
  private end_!: (why: Refused) => void;
  private renewing: Promise<string> | null = null;
  private until: number;

  /** `renew`: by the refresh token; none: it cannot be renewed. Errors: Refused, for good; TypeError, not now. */
  constructor(
    readonly user: string,
    private tokens: Tokens,
    private readonly renew?: (refresh: string) => Promise<Tokens>,
    private readonly now: () => number = Date.now
  ) {
    this.over = new Promise((done) => (this.end_ = done));
    this.until = this.untilOf(tokens);
  }

  /** A token that is still good. Errors: Refused, TypeError, as of `renew`. */
  readonly ready = (): Promise<string> => {
    if (!this.renew || this.now() < this.until) return Promise.resolve(this.tokens.token);
    this.renewing ??= this.renewed(this.renew).finally(() => (this.renewing = null));
    return this.renewing;
  };

  /** Forget the tokens. */
  end() {
    this.tokens = { token: '', refresh: '', livesS: 0 };
    this.until = Infinity;
  }

  private async renewed(renew: (refresh: string) => Promise<Tokens>): Promise<string> {
    const held = this.tokens;
    try {
      const found = await renew(held.refresh);
      if (this.tokens !== held) return this.tokens.token; // signed out meanwhile
      this.tokens = found;
      this.until = this.untilOf(found);
      return found.token;
    } catch (error) {
      if (error instanceof Refused) this.end_(error);
      throw error;
    }
  }

  private untilOf({ livesS }: Tokens): number {
    return this.now() + Math.max(livesS - MARGIN_S, livesS / 2) * 1000;
  }
}
