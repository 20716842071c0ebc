// How people sign in: in development by picking a person, else by Firebase's REST API, where the platform has its key. What
// there is stands in the document (serving/runtime/pages.py).
import { asked, Refused, type Role } from './olo';
import { Pass, type Tokens } from './pass';

export interface Firebase {
  kind: 'firebase';
  key: string;
  /** The Identity Toolkit, and who renews tokens. */
  url: string;
  token_url: string;
}
export type SignIn = { kind: 'development' } | { kind: 'none' } | Firebase;

/** What the document says; one that says nothing was not given by serving. */
export function signInOf(page: Pick<Document, 'querySelector'> = document): SignIn {
  const told = page.querySelector<HTMLMetaElement>('meta[name="olo-sign-in"]')?.content;
  return told ? (JSON.parse(told) as SignIn) : { kind: 'development' };
}

/** A development pass, good for a day. */
export async function picked(user: string, role: Role): Promise<Pass> {
  const { token } = await asked<{ token: string }>('/development/tokens', { user, role });
  return new Pass(user, { token, refresh: '', livesS: 86_400 });
}

/** A pass by an address and a password. Errors: Refused. */
export async function signedIn(at: Firebase, email: string, password: string): Promise<Pass> {
  const body = JSON.stringify({ email, password, returnSecureToken: true });
  const url = `${at.url}/v1/accounts:signInWithPassword?key=${at.key}`;
  const told = await told_(url, 'application/json', body).catch((error: unknown) => {
    if (error instanceof TypeError) throw new Refused('unreachable', 'who signs people in cannot be reached');
    throw error;
  });
  if (!told.idToken || !told.localId) throw new Refused('second_factor', 'this account takes a second factor, which this page does not ask for');
  const first = { token: told.idToken, refresh: told.refreshToken ?? '', livesS: Number(told.expiresIn) };
  return new Pass(told.localId, first, (refresh) => renewed(at, refresh));
}

async function renewed(at: Firebase, refresh: string): Promise<Tokens> {
  const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refresh }).toString();
  const told = await told_(`${at.token_url}/v1/token?key=${at.key}`, 'application/x-www-form-urlencoded', body);
  return { token: told.id_token ?? '', refresh: told.refresh_token ?? refresh, livesS: Number(told.expires_in) };
}

const NAMES: Record<string, [code: string, detail: string]> = {
  EMAIL_NOT_FOUND: ['wrong_credentials', 'the address or the password is wrong'],
  INVALID_EMAIL: ['wrong_credentials', 'the address or the password is wrong'],
  INVALID_PASSWORD: ['wrong_credentials', 'the address or the password is wrong'],
  INVALID_LOGIN_CREDENTIALS: ['wrong_credentials', 'the address or the password is wrong'],
  MISSING_PASSWORD: ['wrong_credentials', 'the address or the password is wrong'],
  USER_DISABLED: ['user_disabled', 'this account is disabled'],
  TOO_MANY_ATTEMPTS_TRY_LATER: ['too_many_attempts', 'too many attempts; try again later'],
  TOKEN_EXPIRED: ['sign_in_over', 'you are signed out; sign in again'],
  USER_NOT_FOUND: ['sign_in_over', 'you are signed out; sign in again'],
  INVALID_REFRESH_TOKEN: ['sign_in_over', 'you are signed out; sign in again']
};

/** What Firebase answers. Errors: Refused, it says no; TypeError, it says nothing now. */
async function told_(url: string, type: string, body: string): Promise<Record<string, string>> {
  // a key may be restricted to pages of an origin
  const answer = await fetch(url, { method: 'POST', headers: { 'Content-Type': type }, body, referrerPolicy: 'origin' });
  const told = (await answer.json().catch(() => null)) as Record<string, string> & { error?: { message?: string } };
  if (answer.ok && told) return told;
  if (answer.status >= 500 || !told) throw new TypeError('no answer');
  const message = told.error?.message ?? '';
  const [code, detail] = NAMES[message.split(' ')[0] ?? ''] ?? ['sign_in_refused', `Firebase refuses: ${message || answer.status}`];
  throw new Refused(code, detail, answer.status);
}
