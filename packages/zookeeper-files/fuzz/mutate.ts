/** Numbers from 0 to 2^32 - 1, the same for the same seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

const MAX_BYTES = 8192;
/** Lengths, counts, types and marks that mean something in the formats. */
const WORDS: readonly Buffer[] = [
  ...[0, 1, 2, 5, 7, 12, 13, 14, 15, 16, 19, 20, 21, -1, -2, -10, -11, 31, 0xffff, 0x7fff_ffff, -0x8000_0000].map(
    (value) => {
      const word = Buffer.alloc(4);
      word.writeInt32BE(value);
      return word;
    },
  ),
  Buffer.from("0400000000000001", "hex"),
  Buffer.from("ffffffffffffffff", "hex"),
  Buffer.from("8000000000000000", "hex"),
  Buffer.from("ff00000000000001", "hex"),
  Buffer.from("000000012f", "hex"),
  Buffer.from("000000022f61", "hex"),
  Buffer.from("ZKSN"),
  Buffer.from("ZKLG"),
  Buffer.from("B"),
  Buffer.from("/"),
  Buffer.from("eda0bdedb880", "hex"),
  Buffer.alloc(12),
  Buffer.alloc(64),
];

/** Another input made of `input`, by one to eight changes. `other` lends pieces. */
export function mutate(input: Buffer, other: Buffer, random: () => number): Buffer {
  let bytes: Buffer = Buffer.from(input);
  for (let changes = 1 << (random() % 4); changes > 0; changes--) bytes = change(bytes, other, random);
  return bytes.subarray(0, MAX_BYTES);
}

function change(bytes: Buffer, other: Buffer, random: () => number): Buffer {
  const at = random() % (bytes.byteLength + 1);
  const length = random() % Math.min(bytes.byteLength - at + 1, 1 << (random() % 10));
  const insert = (piece: Buffer, skip: number): Buffer =>
    Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(Math.min(bytes.byteLength, at + skip))]);
  switch (random() % 10) {
    case 0:
    case 1:
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (random() % 8));
      return bytes;
    case 2:
      bytes[at] = random();
      return bytes;
    case 3: {
      // A length or a count that is a little off.
      if (at + 4 > bytes.byteLength) return bytes;
      bytes.writeInt32BE((bytes.readInt32BE(at) + (random() % 33) - 16) | 0, at);
      return bytes;
    }
    case 4:
    case 5: {
      const word = WORDS[random() % WORDS.length] as Buffer;
      return insert(word, word.byteLength);
    }
    case 6:
      return insert(WORDS[random() % WORDS.length] as Buffer, 0);
    case 7:
      return insert(Buffer.alloc(0), length);
    case 8:
      return insert(bytes.subarray(at, at + length), 0);
    default: {
      const start = random() % (other.byteLength + 1);
      return insert(other.subarray(start, start + length), random() % 2 === 0 ? 0 : length);
    }
  }
}
