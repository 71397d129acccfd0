const CARRY: number = 2 ** 48;

/**
 * A sum of unsigned 32-bit numbers that wraps at 64 bits, as ZooKeeper's does. It takes no BigInt per addition, of
 * which there are several for each txn.
 */
export class DigestSum {
  #low = 0;
  #high = 0;

  /** Both may be the signed forms of unsigned numbers. */
  replace(before: number, after: number): void {
    let low = this.#low + ((after >>> 0) - (before >>> 0));
    if (low >= CARRY) {
      low -= CARRY;
      this.#high += 1;
    } else if (low < 0) {
      low += CARRY;
      this.#high -= 1;
    }
    this.#low = low;
  }

  /** Whether it is the 64-bit number at `at`. */
  equals(bytes: Buffer, at: number): boolean {
    return bytes.readUInt32BE(at + 4) === this.#low % 2 ** 32 && bytes.readInt32BE(at) === this.#highWord();
  }

  isSameAs(other: DigestSum): boolean {
    return this.#low === other.#low && this.#high === other.#high;
  }

  get value(): bigint {
    return BigInt.asIntN(64, BigInt(this.#high) * BigInt(CARRY) + BigInt(this.#low));
  }

  #highWord(): number {
    return (this.#high * 2 ** 16 + Math.floor(this.#low / 2 ** 32)) | 0;
  }
}
