import { describe, expect, it } from 'vitest';
import { follow, type Line } from './feed';

const event = (id: string, name: string, data: object = {}) => `id: ${id}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`;

/** A server that gives these answers one after the other; `null`: the network is away. */
function server(...answers: (string | number | null)[]) {
  const cursors: (string | null)[] = [];
  const asked = async (_: unknown, how?: RequestInit) => {
    cursors.push(new Headers(how?.headers).get('Last-Event-ID'));
    const next = answers.shift() ?? null;
    if (next === null) throw new TypeError('network');
    return typeof next === 'number' ? new Response('', { status: next }) : new Response(`retry: 1\n\n${next}`);
  };
  return { cursors, fetch: asked as typeof fetch };
}

async function names(from: ReturnType<typeof server>, count: number, lines: Line[] = []) {
  const stop = new AbortController();
  const found: string[] = [];
  const options = { token: async () => 't', cursor: '3-7', signal: stop.signal, retryMs: 1, fetch: from.fetch };
  for await (const one of follow({ ...options, onLine: (line) => lines.push(line) })) {
    if (found.push(one.name) === count) stop.abort();
  }
  return found;
}

describe('the feed', () => {
  it('goes on behind the last event, whatever ended the stream', async () => {
    const from = server(event('3-8', 'EntryRecorded'), null, 503, 429, event('3-9', 'EntryRecorded'));
    expect(await names(from, 2)).toEqual(['EntryRecorded', 'EntryRecorded']);
    expect(from.cursors).toEqual(['3-7', '3-8', '3-8', '3-8', '3-8']);
  });

  it('says when it is live and when it is away', async () => {
    const lines: Line[] = [];
    await names(server(event('3-8', 'ready'), event('3-8', 'ready')), 2, lines);
    expect(lines).toEqual(['live', 'away', 'live']);
  });

  it('tells a gap, the one of the log and that of a cursor from another log', async () => {
    const from = server('event: gap\ndata: {"code":"past_gone"}\n\n', 400, event('0-1', 'ready'));
    expect(await names(from, 3)).toEqual(['gap', 'gap', 'ready']);
    expect(from.cursors).toEqual(['3-7', '3-7', null]);
  });

  it('connects again when a stream is silent', async () => {
    const silent = new ReadableStream({ start: (stream) => stream.enqueue(new TextEncoder().encode(event('3-8', 'one'))) });
    const answers = [silent, event('3-9', 'two')];
    const stop = new AbortController();
    const asked = async () => new Response(answers.shift() ?? 'retry: 1\n\n');
    const found: string[] = [];
    const options = { token: async () => 't', signal: stop.signal, retryMs: 1, silenceMs: 20, fetch: asked as typeof fetch, onLine: () => {} };
    for await (const one of follow(options)) if (found.push(one.name) === 2) stop.abort();
    expect(found).toEqual(['one', 'two']);
  });

  it('ends when the token is not taken any more', async () => {
    const lines: Line[] = [];
    expect(await names(server(401), 1, lines)).toEqual([]);
    expect(lines).toEqual(['away']);
  });
});
