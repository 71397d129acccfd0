import { decodeText } from "../jute/jute-text.ts";
import { readStat, type ZnodeStat } from "../znode-stat.ts";

/**
 * A view of one node in a snapshot's bytes. There is one view for a whole snapshot: it, and the bytes it shows, are
 * lent for the call. The fields are places in `bytes`; the properties decode what they are asked for.
 */
export class SnapshotNode {
  bytes: Buffer = Buffer.alloc(0);
  pathStart = 0;
  pathEnd = 0;
  dataStart = 0;
  /** One before `dataStart` when there is no data: null, which is not the same as data of no bytes. */
  dataEnd = 0;
  /** Of the 60 bytes of the stat; the ACL's id is in the 8 before. */
  statStart = 0;

  /** Empty for the root. */
  get path(): string {
    return decodeText(this.bytes, this.pathStart, this.pathEnd);
  }

  /** Lent like the view. */
  get data(): Buffer | null {
    return this.dataEnd < this.dataStart ? null : this.bytes.subarray(this.dataStart, this.dataEnd);
  }

  /** Key of the snapshot's table of ACLs, or `OPEN_ACL_ID`. */
  get aclId(): bigint {
    return this.bytes.readBigInt64BE(this.statStart - 8);
  }

  get stat(): ZnodeStat {
    return readStat(this.bytes, this.statStart);
  }
}
