import { describe, expect, it } from "vitest";
import { FrameReader } from "./frame-reader.ts";

const packets = (...contents: readonly string[]): Buffer =>
  Buffer.concat(
    contents.flatMap((content) => {
      const size = Buffer.alloc(4);
      size.writeInt32BE(Buffer.byteLength(content));
      return [size, Buffer.from(content)];
    }),
  );

const read = (chunks: Iterable<Buffer>): string[] => {
  const reader = new FrameReader();
  return [...chunks].flatMap((chunk) => [...reader.push(chunk)].map((frame) => frame.toString()));
};

describe("packets", () => {
  const contents = ["one", "", "a longer one", "x"];

  it.each([1, 2, 3, 5, 7, 100])("are put together from chunks of %i bytes", (size) => {
    const bytes = packets(...contents);
    const chunks = Array.from({ length: Math.ceil(bytes.byteLength / size) }, (_, i) =>
      bytes.subarray(i * size, (i + 1) * size),
    );
    expect(read(chunks)).toEqual(contents);
  });

  it("are not given out before they are whole", () => {
    expect(read([packets("one", "two").subarray(0, -1)])).toEqual(["one"]);
  });

  it.each([
    ["is negative", "ffffffff"],
    ["is more than a server sends", "00400001"],
    ["is text", Buffer.from("HTTP").toString("hex")],
  ])("whose length %s are refused at once", (_, length) => {
    expect(() => read([packets("one"), Buffer.from(length, "hex")])).toThrow(/it sent a packet of -?\d+ bytes/);
  });
});
