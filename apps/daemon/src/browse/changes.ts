import { type Acl, kindOf, type MultiOp, type Txn, ttlMsOf } from "@zk-backyp/zookeeper-files";
import { formatBytes, formatDuration } from "../formats.ts";
import { keeperErrorName } from "./keeper-error.ts";
import type { OwnedZnodes } from "./owned-znodes.ts";
import { aclDocument, formatAcl } from "./znode-text.ts";

/** One thing that a txn did, or tried to do. A txn has at least one. */
export interface Change {
  /** As the txn has it: `create2`, `setData`, ...; `delete` for each ephemeral that a closing session takes along. */
  readonly type: MultiOp["type"] | "multi" | "createSession" | "closeSession";
  /** The txn it is a part of, where it is one. */
  readonly within: "multi" | "closeSession" | null;
  /** `/` for the root; null where it is about none. */
  readonly path: string | null;
  /** Call before the txn is applied to what is owned. It costs more than all the rest. */
  describe(): Description;
}

/** What else is known of a change. */
interface Description {
  /** For people. */
  readonly note: string;
  /** For programs. */
  readonly details: object;
}

/** Words that choose among changes, each for several types. */
const GROUPS: Readonly<Record<string, readonly Change["type"][]>> = {
  create: ["create", "create2", "createContainer", "createTtl"],
  delete: ["delete", "deleteContainer"],
  setData: ["setData", "reconfig"],
};

/** What `--op` takes. */
export const OPS: readonly string[] = [
  ...["create", "create2", "createContainer", "createTtl", "delete", "deleteContainer", "setData", "reconfig"],
  ...["setAcl", "check", "multi", "createSession", "closeSession", "error"],
];

/** Whether `--op` with these words lets the change through. */
export function isOp(change: Change, ops: ReadonlySet<string>): boolean {
  if (ops.has(change.type) || (change.within !== null && ops.has(change.within))) return true;
  return Object.entries(GROUPS).some(([word, types]) => ops.has(word) && types.includes(change.type));
}

/** A change with all that is known of it. */
export type DescribedChange = Change & Description;

/** What a txn did, part by part. Call before `owned` has applied it. */
export function changesOf(txn: Txn, owned: OwnedZnodes): Change[] {
  switch (txn.type) {
    case "createSession": {
      const { timeoutMs } = txn;
      const described = { note: `timeout ${formatDuration(timeoutMs)}`, details: { timeoutMs } };
      return [{ type: "createSession", within: null, path: null, describe: () => described }];
    }
    case "closeSession":
      return changesOfEnd(owned.endOf(txn));
    case "multi": {
      if (txn.ops.length === 0) {
        return [{ type: "multi", within: null, path: null, describe: () => ({ note: "no parts", details: {} }) }];
      }
      const isUndone = txn.ops.some(({ type }) => type === "error");
      return txn.ops.map((op) => changeOf(op, "multi", isUndone && op.type !== "error", owned));
    }
    default:
      return [changeOf(txn, null, false, owned)];
  }
}

function changesOfEnd({ paths, complete }: ReturnType<OwnedZnodes["endOf"]>): Change[] {
  const note =
    paths.length > 0
      ? `${count(paths.length, "ephemeral")} deleted${complete ? "" : ", and perhaps others from before these logs"}`
      : complete
        ? "no ephemerals"
        : "its ephemerals, if any, are from before these logs";
  const end = { note, details: { ephemerals: paths.length, complete } };
  const gone = { note: "ephemeral", details: {} };
  return [
    { type: "closeSession", within: null, path: null, describe: () => end },
    ...paths.map((path) => ({ type: "delete", within: "closeSession", path, describe: () => gone }) as const),
  ];
}

function changeOf(op: MultiOp, within: Change["within"], isUndone: boolean, owned: OwnedZnodes): Change {
  return {
    type: op.type,
    within,
    path: "path" in op ? op.path : null,
    describe() {
      const { note, details } = describe(op, owned);
      return { note: isUndone ? joined(note, "not done: another part failed") : note, details };
    },
  };
}

function describe(op: MultiOp, owned: OwnedZnodes): Description {
  switch (op.type) {
    case "create":
    case "create2": {
      const note = joined(size(op.data), op.ephemeral ? "ephemeral" : "");
      return { note, details: { ephemeral: op.ephemeral, ...written(op) } };
    }
    case "createContainer":
      return { note: joined(size(op.data), "container"), details: written(op) };
    case "createTtl":
      return {
        note: joined(size(op.data), `ttl ${formatDuration(Number(op.ttlMs))}`),
        details: { ttlMs: Number(op.ttlMs), ...written(op) },
      };
    case "delete":
      return { note: "", details: {} };
    case "deleteContainer": {
      const owner = owned.ownerOf(op.path);
      const kind = kindOf(owner);
      if (kind === "container") return { note: "by the server: an empty container", details: { reason: "container" } };
      if (kind === "ttl") {
        const ttlMs = ttlMsOf(owner) ?? 0;
        return { note: `by the server: ttl ${formatDuration(ttlMs)} expired`, details: { reason: "ttl", ttlMs } };
      }
      return { note: "by the server: an empty container, or an expired ttl", details: { reason: null } };
    }
    case "setData":
    case "reconfig":
      return {
        note: joined(size(op.data), `version ${op.version}`),
        details: { version: op.version, dataLength: op.data?.byteLength ?? null },
      };
    case "setAcl":
      return {
        note: joined(formatAcl(op.acl ?? []), `aversion ${op.version}`),
        details: { aversion: op.version, acl: aclDocument(op.acl) },
      };
    case "check":
      return { note: `version ${op.version - 1}`, details: { version: op.version - 1 } };
    case "error": {
      const name = keeperErrorName(op.errorCode);
      return {
        note: name === null ? `error ${op.errorCode}` : `${name} (${op.errorCode})`,
        details: { error: { code: op.errorCode, name } },
      };
    }
  }
}

function written({ data, acl }: { data: Buffer | null; acl: Acl | null }): object {
  return { dataLength: data?.byteLength ?? null, acl: aclDocument(acl) };
}

function size(data: Buffer | null): string {
  return data === null ? "no data" : formatBytes(data.byteLength);
}

function joined(...parts: readonly string[]): string {
  return parts.filter((part) => part !== "").join(", ");
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}
