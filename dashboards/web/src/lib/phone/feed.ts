// A stream of server-sent events: one's own feed, in order, each once, after a break behind the last one; or the gallery's.
import { EventSourceParserStream } from 'eventsource-parser/stream';
import { Refused } from '../olo';

export interface FeedEvent {
  name: string;
  data: Record<string, unknown>;
}

export type Line = 'connecting' | 'live' | 'away';

interface Options {
  /** A token that is still good. */
  token: () => Promise<string>;
  cursor?: string;
  path?: string;
  device?: string;
  signal: AbortSignal;
  onLine: (line: Line) => void;
  fetch?: typeof fetch;
  retryMs?: number;
  /** The server says something every 15 s; a stream that is silent for longer is dead. */
  silenceMs?: number;
}

/** EventSource cannot send a token, so this reads the stream of a `fetch`, and keeps the cursor itself. */
export async function* follow(options: Options): AsyncGenerator<FeedEvent> {
  let { cursor = '', retryMs = 1000 } = options;
  const onRetry = (ms: number) => void (retryMs = ms);
  const ask = options.fetch ?? fetch;
  while (!options.signal.aborted) {
    const headers: Record<string, string> = {};
    if (options.device) headers['Olo-Device'] = options.device;
    if (cursor) headers['Last-Event-ID'] = cursor;
    const watch = new Watch(options.signal, options.silenceMs ?? 45_000);
    try {
      headers['Authorization'] = `Bearer ${await options.token()}`;
      const answer = await ask(options.path ?? '/v1/feed', { headers, signal: watch.signal });
      if (answer.ok && answer.body) {
        const texts = answer.body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array<ArrayBuffer>>);
        const reader = texts.pipeThrough(new EventSourceParserStream({ onRetry, onComment: () => watch.heard() })).getReader();
        for (let part = await watch.first(reader.read()); !part.done; part = await watch.first(reader.read())) {
          watch.heard();
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
      if (error instanceof Refused) return options.onLine('away'); // nobody renews the token any more
      if (!(error instanceof TypeError || error instanceof DOMException)) throw error;
    } finally {
      watch.end();
    }
    options.onLine('away');
    await new Promise((done) => setTimeout(done, retryMs));
  }
}

/** Ends one connection when its reader leaves, when the machine says that the network is away, or after a long silence. */
class Watch {
  private readonly cut = new AbortController();
  private readonly end_ = () => this.cut.abort();
  private timer: ReturnType<typeof setTimeout> | undefined;
  readonly signal = this.cut.signal;

  constructor(
    private readonly leaves: AbortSignal,
    private readonly silenceMs: number
  ) {
    leaves.addEventListener('abort', this.end_);
    globalThis.addEventListener?.('offline', this.end_);
    this.heard();
  }

  /** The server has said something. */
  heard() {
    clearTimeout(this.timer);
    this.timer = setTimeout(this.end_, this.silenceMs);
  }

  /** What is read, unless the connection is ended before. Errors: DOMException. */
  first<T>(read: Promise<T>): Promise<T> {
    return new Promise((done, fail) => {
      const ended = () => fail(new DOMException('ended', 'AbortError'));
      if (this.signal.aborted) ended();
      this.signal.addEventListener('abort', ended, { once: true });
      read.then(done, fail).finally(() => this.signal.removeEventListener('abort', ended));
    });
  }

  end() {
    clearTimeout(this.timer);
    this.leaves.removeEventListener('abort', this.end_);
    globalThis.removeEventListener?.('offline', this.end_);
    this.cut.abort();
  }
}
