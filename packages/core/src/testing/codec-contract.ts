import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { CHUNK_BYTES, collect } from "../bytes.ts";
import type { Codec } from "../codec.ts";
import { isBackypError } from "../errors.ts";
import type { ContractCase } from "./contract-case.ts";

const MIB = 1024 * 1024;

/** What every codec must do. Run each case in the test runner of your choice. */
export function codecContract(createCodec: () => Codec): ContractCase[] {
  const signal = new AbortController().signal;
  const encode = (body: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> => createCodec().encode(body, { signal });
  const decode = (body: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> => createCodec().decode(body, { signal });
  const roundTrip = async (content: Buffer, chunkBytes: number): Promise<void> => {
    const back = await collect(decode(encode(chunks(content, chunkBytes))), content.byteLength);
    assert.ok(back.equals(content), "decode(encode(x)) is not x");
  };

  const sizes = [0, 1, 511, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 5 * CHUNK_BYTES + 7];
  return [
    ...sizes.map((size) => ({
      name: `gives back ${size} random bytes`,
      run: () => roundTrip(randomBytes(size), 100_003),
    })),
    { name: "gives back what compresses well", run: () => roundTrip(Buffer.alloc(7 * MIB, "znode "), MIB) },
    { name: "takes empty chunks", run: () => roundTrip(Buffer.from("abc"), 0) },
    {
      name: "refuses a stream that is cut short, wherever that is",
      async run() {
        const encoded = await collect(encode(chunks(randomBytes(3000), 1000)), MIB);
        for (let length = 0; length < encoded.byteLength; length += 1 + Math.floor(encoded.byteLength / 200)) {
          await assert.rejects(
            collect(decode(chunks(encoded.subarray(0, length), 64)), MIB),
            (error) => isBackypError(error, "ERR_ARCHIVE_CORRUPT"),
            `accepted ${length} of ${encoded.byteLength} bytes`,
          );
        }
      },
    },
    {
      name: "passes the body's own error on, both ways",
      async run() {
        const failure = new Error("the body failed");
        await assert.rejects(collect(encode(failing(Buffer.alloc(10), failure)), MIB), (error) => error === failure);
        const encoded = await collect(encode(chunks(randomBytes(3000), 1000)), MIB);
        await assert.rejects(
          collect(decode(failing(encoded.subarray(0, 20), failure)), MIB),
          (error) => error === failure,
        );
      },
    },
    {
      name: "closes the body when its consumer stops early, both ways",
      async run() {
        const encoded = await collect(encode(chunks(randomBytes(9 * MIB), MIB)), 16 * MIB);
        for (const [stream, content] of [
          [encode, randomBytes(4 * MIB)],
          [decode, encoded],
        ] as const) {
          let state = "unopened";
          const body = (async function* () {
            try {
              state = "open";
              while (true) yield* chunks(content, MIB);
            } finally {
              state = "closed";
            }
          })();
          // The first output may be a header that needs no input.
          for await (const _ of stream(body)) if (state !== "unopened") break;
          assert.equal(state, "closed", "the body was left open");
        }
      },
    },
    {
      name: "keeps little in memory: pulls no further than some 64 MiB ahead",
      async run() {
        let pulled = 0;
        const block = randomBytes(MIB);
        const endless = (async function* () {
          while (true) {
            pulled += MIB;
            yield block;
          }
        })();
        for await (const _ of encode(endless)) break;
        assert.ok(pulled <= 64 * MIB, `pulled ${pulled} bytes for its first output`);
      },
    },
    {
      name: "encodes the same input to something that decodes alike",
      async run() {
        const content = Buffer.alloc(2 * MIB + 5, "abc");
        const digest = async (): Promise<string> =>
          createHash("sha256")
            .update(await collect(decode(encode(chunks(content, 77_777))), 4 * MIB))
            .digest("hex");
        assert.equal(await digest(), await digest());
      },
    },
  ];
}

/** `content` in chunks of the given size, with an empty chunk after each; all at once for 0. */
async function* chunks(content: Buffer, chunkBytes: number): AsyncGenerator<Uint8Array, void, void> {
  const step = chunkBytes === 0 ? content.byteLength : chunkBytes;
  for (let offset = 0; offset < content.byteLength; offset += step) {
    yield content.subarray(offset, offset + step);
    yield new Uint8Array(0);
  }
}

async function* failing(content: Buffer, error: Error): AsyncGenerator<Uint8Array, void, void> {
  yield content;
  throw error;
}
