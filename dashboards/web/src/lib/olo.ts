// The typed client of the HTTP API; its types are made of the API's own document (`make web`).
import createClient from 'openapi-fetch';
import type { components, paths } from './api';
import type { Pass } from './pass';

export type Schemas = components['schemas'];
export type Role = Schemas['Role'];
export type Olo = ReturnType<typeof clientOf>;

/** What the API refused: `code` is stable, `detail` is for people; `status` 0: there was no answer; `more`: all it said. */
export class Refused extends Error {
  constructor(
    readonly code: string,
    detail: string,
    readonly status = 0,
    readonly more: object = {}
  ) {
    super(detail);
  }

  /** Whether nothing is known yet, so that the same again may be decided. */
  get open(): boolean {
    return [0, 202, 503].includes(this.status);
  }
}

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

const PATIENCE_MS = 60_000;
const PAUSE_MS = 500;

/** `device`: the phone's own name, where it is one. */
export function clientOf(pass: Pass, device = '') {
  const client = createClient<paths>({ headers: device ? { 'Olo-Device': device } : {} });
  client.use({
    async onRequest({ request }) {
      request.headers.set('Authorization', `Bearer ${await pass.ready()}`);
      return request;
    }
  });
  return client;
}

/** What a route answers that is in no document, such as development's; likewise sent again. */
export async function asked<T>(path: string, body: object): Promise<T> {
  const headers = { 'Content-Type': 'application/json' };
  const send = async () => {
    const response = await fetch(path, { method: 'POST', headers, body: JSON.stringify(body) });
    const told: unknown = await response.json().catch(() => ({})); // a file, where there is no such route
    return response.ok ? { data: told as T, response } : { error: told, response };
  };
  return decided<T>(send);
}

/** The answer to a request, sent again while the network is away or nothing is decided. A command has the same
 * Idempotency-Key in each attempt, so it counts once. */
export async function decided<T>(send: () => Promise<Answer<T>>, pauseMs = PAUSE_MS): Promise<T> {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const answer = await send().catch((error: unknown) => {
      if (error instanceof TypeError) return null; // the network is away
      throw error;
    });
    const open = !answer || [202, 429, 503].includes(answer.response.status);
    const after = Number(answer?.response.headers.get('Retry-After') ?? 0) * 1000;
    if (!open || Date.now() + after > until) return settled(answer);
    await new Promise((done) => setTimeout(done, Math.max(after, pauseMs)));
  }
}

function settled<T>(answer: Answer<T> | null): T {
  if (answer?.response.ok && answer.response.status !== 202) return answer.data as T; // 204 has none
  const problem = (answer?.error ?? {}) as Partial<Schemas['ProblemBody']>;
  throw new Refused(problem.code ?? 'unreachable', problem.detail ?? 'the platform cannot be reached', answer?.response.status ?? 0, problem);
}
