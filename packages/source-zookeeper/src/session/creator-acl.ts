import type { Acl } from "@zk-backyp/zookeeper-files";

/** All for who has created it, with the credential of its session; others may read. */
export const CREATOR_ACL: Acl = [
  { permissions: 31, scheme: "auth", id: "" },
  { permissions: 1, scheme: "world", id: "anyone" },
];
