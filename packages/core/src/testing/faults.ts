import { abortable, type Bytes } from "../bytes.ts";
import type { Sink } from "../sink.ts";

/**
 * What goes wrong with one call:
 *
 * - an `Error`: the call fails with it and nothing reaches the sink;
 * - `{ error, afterBytes }`: a `put` or `get` fails once that many bytes went by (a multiple of the chunks' sizes);
 * - `{ error, stored: true }`: a `put` or `delete` is done, and still reported as failed, like a lost reply;
 * - `{ flipByteAt }`: a `get` delivers the byte at this offset (in bytes) changed, like a rotten disk;
 * - `{ cutAt }`: a `get` ends after that many bytes as if the object were over;
 * - `null`: nothing, the call is passed through.
 */
export type Fault =
  | Error
  | { readonly error: Error; readonly afterBytes: number }
  | { readonly error: Error; readonly stored: true }
  | { readonly flipByteAt: number }
  | { readonly cutAt: number }
  | null;

/** Per operation, the faults of the first call, the second, and so on. Calls after the last one pass through. */
export interface Faults {
  readonly put?: readonly Fault[];
  readonly get?: readonly Fault[];
  readonly list?: readonly Fault[];
  readonly delete?: readonly Fault[];
}

/** `sink`, with the given faults. For tests of what happens when a store fails. */
export function withFaults(sink: Sink, faults: Faults): Sink {
  const calls = { put: 0, get: 0, list: 0, delete: 0 };
  function nextFault(operation: keyof Faults): Fault {
    const fault = faults[operation]?.[calls[operation]] ?? null;
    calls[operation] += 1;
    return fault;
  }

  return {
    ...sink,

    async put(key, body, options) {
      const fault = nextFault("put");
      if (fault instanceof Error) throw fault;
      // abortable inside, because a generator that waits for a stuck body cannot be closed.
      const info = await sink.put(key, fault === null ? body : faulty(abortable(body, options.signal), fault), options);
      if (fault !== null && "stored" in fault) throw fault.error;
      return info;
    },

    async *get(key, options) {
      const fault = nextFault("get");
      if (fault instanceof Error) throw fault;
      yield* faulty(sink.get(key, options), fault);
    },

    async *list(prefix, options) {
      const fault = nextFault("list");
      if (fault instanceof Error) throw fault;
      yield* sink.list(prefix, options);
    },

    async delete(key, options) {
      const fault = nextFault("delete");
      if (fault instanceof Error) throw fault;
      await sink.delete(key, options);
      if (fault !== null && "stored" in fault) throw fault.error;
    },
  };
}

async function* faulty(body: Bytes, fault: Exclude<Fault, Error>): AsyncGenerator<Uint8Array, void, void> {
  let passed = 0;
  for await (let chunk of body) {
    const next = passed + chunk.byteLength;
    if (fault !== null && "flipByteAt" in fault && fault.flipByteAt >= passed && fault.flipByteAt < next) {
      chunk = Uint8Array.from(chunk);
      const index = fault.flipByteAt - passed;
      chunk[index] = (chunk[index] ?? 0) ^ 0xff;
    }
    if (fault !== null && "cutAt" in fault && next >= fault.cutAt) {
      yield chunk.subarray(0, fault.cutAt - passed);
      return;
    }
    yield chunk;
    passed = next;
    if (fault !== null && "afterBytes" in fault && passed >= fault.afterBytes) throw fault.error;
  }
}
