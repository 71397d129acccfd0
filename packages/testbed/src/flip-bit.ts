import { open } from "node:fs/promises";

/** Changes one bit of a file, as a rotten disk does. */
export async function flipBit(path: string, offset: number): Promise<void> {
  const file = await open(path, "r+");
  try {
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, offset);
    await file.write(Buffer.of((byte[0] ?? 0) ^ 0x10), 0, 1, offset);
  } finally {
    await file.close();
  }
}
