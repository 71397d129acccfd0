// Puts objects one after the other until it is killed. Each object ends with the SHA-256 of what comes before, so that
// a half-written one gives itself away. argv: the directory.
import { createHash, randomBytes } from "node:crypto";
import { createFsSink } from "../src/index.ts";

const sink = createFsSink({ path: process.argv[2] ?? "" });
const { signal } = new AbortController();

async function* sealed(bytes: number): AsyncGenerator<Uint8Array, void, void> {
  const hash = createHash("sha256");
  for (let sent = 0; sent < bytes; sent += 300_000) {
    const chunk = randomBytes(Math.min(300_000, bytes - sent));
    hash.update(chunk);
    yield chunk;
  }
  yield hash.digest();
}

for (let round = 0; ; round += 1) {
  const bytes = 1000 + Math.floor(Math.random() * 6_000_000);
  await sink.put("overwritten", sealed(bytes), { signal });
  await sink.put(`new/${process.pid}-${round}`, sealed(bytes), { signal, ifAbsent: true });
  // Tells the parent what must be there from now on.
  process.stdout.write(`${round}\n`);
}
