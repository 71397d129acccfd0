/** One line of an access control list. */
export interface AclEntry {
  /** Sum of 1 read, 2 write, 4 create, 8 delete, 16 admin. */
  readonly permissions: number;
  /** Such as `world`, `auth`, `digest`, `ip`, `sasl`, `x509`. */
  readonly scheme: string;
  /** Whom the scheme is to let in: `anyone`, `user:hash`, `10.0.0.0/8`, ... */
  readonly id: string;
}

export type Acl = readonly AclEntry[];

/** A node's ACL id that stands for {@link OPEN_ACL}. It is in no snapshot's table. */
export const OPEN_ACL_ID: bigint = -1n;

/** World may do anything: what most nodes have. */
export const OPEN_ACL: Acl = [{ permissions: 31, scheme: "world", id: "anyone" }];
