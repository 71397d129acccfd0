import { randomBytes } from "node:crypto";
import { mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import { adler32 } from "@zk-backyp/zookeeper-files";

const NODE_DATA_BYTES = 64 * 1024;
/** Far longer than gzip looks back. */
const NOISE = randomBytes(8 * 1024 * 1024);
let nodes = 0;

/**
 * Makes a data directory with one good snapshot of about `bytes` bytes, such as a real server would take minutes to
 * fill. Half of what is in it compresses, half does not.
 */
export async function writeLargeData(dataDir: string, bytes: number): Promise<void> {
  await mkdir(join(dataDir, "version-2"), { recursive: true });
  const file = await open(join(dataDir, "version-2", "snapshot.1"), "wx");
  let checksum = 1;
  const write = async (part: Buffer): Promise<void> => {
    checksum = adler32(part, checksum);
    await file.writeFile(part);
  };
  try {
    const header = Buffer.alloc(24);
    header.write("ZKSN");
    header.writeInt32BE(2, 4);
    header.writeBigInt64BE(-1n, 8);
    await write(header);
    await write(node("", 0));
    const count = Math.ceil(bytes / NODE_DATA_BYTES);
    for (let index = 0; index < count; index += 16) {
      const batch = Array.from({ length: Math.min(16, count - index) }, (_, n) =>
        node(`/n${index + n}`, NODE_DATA_BYTES),
      );
      await write(Buffer.concat(batch));
    }
    await write(text("/"));
    const seal = Buffer.alloc(8);
    seal.writeBigInt64BE(BigInt(checksum));
    await file.writeFile(Buffer.concat([seal, text("/")]));
  } finally {
    await file.close();
  }
}

function text(value: string): Buffer {
  const bytes = Buffer.from(`\0\0\0\0${value}`);
  bytes.writeInt32BE(bytes.byteLength - 4);
  return bytes;
}

/** A persistent znode of the transaction 1 with the default ACL. */
function node(path: string, dataBytes: number): Buffer {
  const data = Buffer.alloc(4 + dataBytes, `${path} `);
  data.writeInt32BE(dataBytes);
  const from = (nodes++ * 7_919) % (NOISE.byteLength - dataBytes / 2);
  NOISE.copy(data, 4, from, from + dataBytes / 2);
  const rest = Buffer.alloc(8 + 60);
  rest.writeBigInt64BE(-1n);
  if (path !== "") for (const at of [8, 16, 60]) rest.writeBigInt64BE(1n, at);
  return Buffer.concat([text(path), data, rest]);
}
