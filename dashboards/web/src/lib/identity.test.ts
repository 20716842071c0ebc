import { afterEach, describe, expect, it, vi } from 'vitest';
import { signedIn, signInOf, type Firebase } from './identity';
import { Refused } from './olo';
import { Pass } from './pass';

const AT: Firebase = { kind: 'firebase', key: 'k', url: 'http://toolkit', token_url: 'http://tokens' };
const WELCOME = { idToken: 't1', refreshToken: 'r1', expiresIn: '3600', localId: 'ann' };

/** A Firebase that gives these answers in turn; null: the network is away. */
function firebase(...answers: ([number, object] | null)[]) {
  const asked: [string, string][] = [];
  vi.stubGlobal('fetch', async (url: string, how: RequestInit) => {
    asked.push([url, String(how.body)]);
    const next = answers.shift();
    if (!next) throw new TypeError('network');
    return new Response(JSON.stringify(next[1]), { status: next[0] });
  });
  return asked;
}
const refusal = (message: string): [number, object] => [400, { error: { code: 400, message } }];

afterEach(() => vi.unstubAllGlobals());

describe('signing in', () => {
  it('gives a pass by address and password, which the address never names', async () => {
    const asked = firebase([200, WELCOME]);
    const pass = await signedIn(AT, 'ann@olo.example', 'secret');
    expect([pass.user, await pass.ready()]).toEqual(['ann', 't1']);
    expect(asked).toEqual([
      ['http://toolkit/v1/accounts:signInWithPassword?key=k', '{"email":"ann@olo.example","password":"secret","returnSecureToken":true}']
    ]);
  });

  it.each([
    [refusal('INVALID_LOGIN_CREDENTIALS'), 'wrong_credentials'],
    [refusal('USER_DISABLED'), 'user_disabled'],
    [refusal('TOO_MANY_ATTEMPTS_TRY_LATER : Access is disabled.'), 'too_many_attempts'],
    [refusal('API key not valid.'), 'sign_in_refused'],
    [[403, {}] as [number, object], 'sign_in_refused'],
    [[200, { mfaPendingCredential: 'x' }] as [number, object], 'second_factor'],
    [[503, {}] as [number, object], 'unreachable'],
    [null, 'unreachable']
  ])('names what is refused: %j', async (answer, code) => {
    firebase(answer);
    await expect(signedIn(AT, 'a', 'b')).rejects.toMatchObject({ code });
  });

  it('goes by the document', () => {
    const page = (content?: string) => ({ querySelector: () => (content ? { content } : null) }) as unknown as Document;
    expect(signInOf(page())).toEqual({ kind: 'development' });
    expect(signInOf(page(JSON.stringify(AT)))).toEqual(AT);
  });
});

describe('a pass', () => {
  it('is renewed once before it expires, however many ask, and over and over', async () => {
    let now = 0;
    let count = 0;
    const renew = async (refresh: string) => ({ token: `t${++count}`, refresh: `${refresh}'`, livesS: 3600 });
    const pass = new Pass('ann', { token: 't0', refresh: 'r', livesS: 3600 }, renew, () => now);
    now = 3_299_000;
    expect(await pass.ready()).toBe('t0');
    now = 3_301_000;
    expect(await Promise.all([pass.ready(), pass.ready(), pass.ready()])).toEqual(['t1', 't1', 't1']);
    now += 3_301_000;
    expect(await pass.ready()).toBe('t2');
  });

  it('waits for a network that is away, and is over when it is refused', async () => {
    let now = 0;
    const asked = firebase([200, { ...WELCOME, expiresIn: '2' }], null, [500, {}], [200, { id_token: 't2', refresh_token: 'r2', expires_in: '2' }], refusal('TOKEN_EXPIRED'));
    const found = await signedIn(AT, 'a', 'b');
    const pass = new Pass('ann', { token: 't1', refresh: 'r1', livesS: 2 }, found['renew'], () => now);
    now = 1_500;
    await expect(pass.ready()).rejects.toBeInstanceOf(TypeError);
    await expect(pass.ready()).rejects.toBeInstanceOf(TypeError);
    expect(await pass.ready()).toBe('t2');
    expect(asked[3]).toEqual(['http://tokens/v1/token?key=k', 'grant_type=refresh_token&refresh_token=r1']);
    now = 3_000;
    await expect(pass.ready()).rejects.toBeInstanceOf(Refused);
    expect((await pass.over).code).toBe('sign_in_over');
  });

  it('that was ended has no token, whatever is on its way', async () => {
    let done!: (tokens: { token: string; refresh: string; livesS: number }) => void;
    const renew = () => new Promise<{ token: string; refresh: string; livesS: number }>((found) => (done = found));
    let now = 0;
    const pass = new Pass('ann', { token: 't0', refresh: 'r', livesS: 2 }, renew, () => now);
    now = 5_000;
    const asked = pass.ready();
    pass.end();
    done({ token: 't1', refresh: 'r', livesS: 3600 });
    expect([await asked, await pass.ready()]).toEqual(['', '']);
  });
});
