// Puts an object and reads it back, and prints the speed and the most memory it took. argv: the sink's options as
// JSON, the number of bytes. Uses the built package: Node's own reading of TypeScript takes memory, too.
import { createS3Sink } from "@zk-backyp/sink-s3";

const MIB = 1024 * 1024;
const [options = "{}", bytes = "0"] = process.argv.slice(2);
const sink = await createS3Sink(JSON.parse(options));
const { signal } = new AbortController();
const peakRssBytes = (): number => process.resourceUsage().maxRSS * 1024;

// The same chunk again and again: what is measured is the sink's memory, not that of its source.
const chunk = Buffer.alloc(MIB, 1);
async function* ones(): AsyncGenerator<Uint8Array, void, void> {
  for (let rest = Number(bytes); rest > 0; rest -= MIB) yield chunk.subarray(0, Math.min(rest, MIB));
}

const start = performance.now();
await sink.put("large", ones(), { signal });
const putSeconds = (performance.now() - start) / 1000;
const peakRssOfPut = peakRssBytes();
let size = 0;
for await (const { byteLength } of sink.get("large", { signal })) size += byteLength;
const getSeconds = (performance.now() - start) / 1000 - putSeconds;
await sink.close();

console.log(
  JSON.stringify({
    size,
    peakRssOfPut,
    peakRssOfBoth: peakRssBytes(),
    putMegabytesPerSecond: Math.round(size / putSeconds / 1e6),
    getMegabytesPerSecond: Math.round(size / getSeconds / 1e6),
  }),
);
