// Whether an AsyncAPI document is one, by the official parser: a line for each thing that is wrong, and exit code 1.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const source = process.argv[2];
const { diagnostics } = await new Parser().parse(readFileSync(source, "utf8"), { source });
for (const one of diagnostics) console.log(`${one.path.join("/")}: ${one.message}`);
process.exit(diagnostics.length ? 1 : 0);
