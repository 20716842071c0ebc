// A phone in TypeScript: it signs up, reads its balance and follows its feed, and goes on after a break where it was.
import { createInterface } from "node:readline/promises";
import { EventSourceParserStream } from "eventsource-parser/stream";
import createClient from "openapi-fetch";
import type { components, paths } from "./olo.js";

type Schemas = components["schemas"];

const [url = "", token = ""] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${token}` };
const olo = createClient<paths>({ baseUrl: url, headers });

class Feed {
  private retryMs = 1000;

  constructor(private cursor: string) {}

  // Everything behind the cursor, and then whatever comes; connects again by itself.
  async *events() {
    for (;;) {
      const answer = await fetch(`${url}/v1/feed`, { headers: { ...headers, "Last-Event-ID": this.cursor } }).catch(() => null);
      if (answer?.body && answer.ok) {
        const onRetry = (ms: number) => void (this.retryMs = ms);
        const stream = answer.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream({ onRetry }));
        for await (const event of stream) {
          this.cursor = event.id || this.cursor;
          yield event;
        }
      } else if (answer && answer.status < 500 && answer.status !== 429) {
        throw new Error(((await answer.json()) as Schemas["ProblemBody"]).code);
      }
      await new Promise((done) => setTimeout(done, this.retryMs));
    }
  }
}

const signedUp = await olo.POST("/v1/users", { body: { platform: "web", country: "DE" } });
if (signedUp.error) throw new Error(signedUp.error.code);

const balance = await olo.GET("/v1/balance", { params: { query: { book: "coins" } } });
if (balance.error) throw new Error(`${balance.error.code}: ${balance.error.detail}`);
console.log("balance", balance.data.available_coins);

const feed = new Feed(balance.data.cursor ?? "");

async function nextEntry() {
  for await (const event of feed.events()) {
    if (event.event === "ready") console.log("ready");
    if (event.event === "gap") console.log("gap"); // too long away: read balances and calls anew
    if (event.event === "EntryRecorded") return JSON.parse(event.data) as Schemas["EntryRecorded"];
  }
}

console.log("entry", (await nextEntry())?.coins);
const input = createInterface({ input: process.stdin });
await input.question(""); // away, until somebody presses Enter
input.close();
console.log("entry", (await nextEntry())?.coins);
process.exit(0);
