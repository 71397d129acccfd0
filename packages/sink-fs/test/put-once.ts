// Puts one object, reads it back and prints what came of it. argv: the directory, the key, the number of bytes, and a
// user id to become before that.
import { createFsSink } from "../src/index.ts";

const [path = "", key = "", bytes = "0", uid] = process.argv.slice(2);
if (uid !== undefined) process.setuid?.(Number(uid));

async function* ones(): AsyncGenerator<Uint8Array, void, void> {
  // A new chunk each time: one that is held for too long shows in the memory.
  for (let rest = Number(bytes); rest > 0; rest -= 1024 * 1024) yield Buffer.alloc(Math.min(rest, 1024 * 1024), 1);
}

try {
  const sink = createFsSink({ path });
  const { signal } = new AbortController();
  await sink.put(key, ones(), { signal });
  for await (const _chunk of sink.get(key, { signal }));
  const { maxRSS } = process.resourceUsage();
  console.log(JSON.stringify({ code: "stored", message: "", peakRssBytes: maxRSS * 1024 }));
} catch (error) {
  const { code, message } = error as Error & { code?: string };
  console.log(JSON.stringify({ code, message, peakRssBytes: 0 }));
}
