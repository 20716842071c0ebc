// A stream of server-sent events: one's own feed, in order, each once, after a break behind the last one; or the gallery's.
import { EventSourceParserStream } from 'eventsource-parser/stream';

export interface FeedEvent {
  name: string;
  data: Record<string, unknown>;
}

export type Line = 'connecting' | 'live' | 'away';

interface Options {
  token: string;
  cursor?: string;
  path?: string;
  device?: string;
  signal: AbortSignal;
  onLine: (line: Line) => void;
  fetch?: typeof fetch;
  retryMs?: number;
}

/** EventSource cannot send a token, so this reads the stream of a `fetch`, and keeps the cursor itself. */
export async function* follow(options: Options): AsyncGenerator<FeedEvent> {
  let { cursor = '', retryMs = 1000 } = options;
  const onRetry = (ms: number) => void (retryMs = ms);
  const ask = options.fetch ?? fetch;
  while (!options.signal.aborted) {
    const headers: Record<string, string> = { Authorization: `Bearer ${options.token}` };
    if (options.device) headers['Olo-Device'] = options.device;
    if (cursor) headers['Last-Event-ID'] = cursor;
    try {
      const answer = await ask(options.path ?? '/v1/feed', { headers, signal: options.signal });
      if (answer.ok && answer.body) {
        const texts = answer.body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array<ArrayBuffer>>);
        const reader = texts.pipeThrough(new EventSourceParserStream({ onRetry })).getReader();
        for (let part = await reader.read(); !part.done; part = await reader.read()) {
          cursor = part.value.id ?? cursor;
          if (part.value.event === 'ready') options.onLine('live');
          if (part.value.data) yield { name: part.value.event ?? '', data: JSON.parse(part.value.data) };
        }
      } else if (answer.status === 400) {
        cursor = ''; // no place of this log: begin now, and say that there is a gap
        yield { name: 'gap', data: {} };
      } else if (answer.status < 500 && answer.status !== 429) {
        return options.onLine('away'); // the token is not taken any more
      }
    } catch (error) {
      if (options.signal.aborted) return;
      if (!(error instanceof TypeError || error instanceof DOMException)) throw error;
    }
    options.onLine('away');
    await new Promise((done) => setTimeout(done, retryMs));
  }
}
