/** Servers answer with a znode's data at most, which is below 1 MiB unless their `jute.maxbuffer` was raised. */
const MAX_FRAME_BYTES: number = 4 * 1024 * 1024;

/** Cuts what a server sends into its packets: a length of four bytes, then as many. */
export class FrameReader {
  #bytes: Buffer[] = [];
  #length = 0;

  /**
   * The packets that are whole with `chunk`. No memory is taken for a packet before its bytes are there.
   *
   * @throws Error when the length of a packet is none that a ZooKeeper server sends
   */
  *push(chunk: Buffer): Generator<Buffer> {
    this.#bytes.push(chunk);
    this.#length += chunk.byteLength;
    while (this.#length >= 4) {
      if ((this.#bytes[0] as Buffer).byteLength < 4) this.#join();
      const size = (this.#bytes[0] as Buffer).readInt32BE(0);
      if (size < 0 || size > MAX_FRAME_BYTES) throw new Error(`it sent a packet of ${size} bytes`);
      if (this.#length < 4 + size) return;
      const all = this.#join();
      this.#bytes = [all.subarray(4 + size)];
      this.#length -= 4 + size;
      yield all.subarray(4, 4 + size);
    }
  }

  #join(): Buffer {
    const all = this.#bytes.length === 1 ? (this.#bytes[0] as Buffer) : Buffer.concat(this.#bytes);
    this.#bytes = [all];
    return all;
  }
}
