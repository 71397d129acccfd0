import type { Acl } from "../acl.ts";
import type { JuteWriter } from "../jute/jute-writer.ts";

export function encodeAcl(writer: JuteWriter, acl: Acl | null): void {
  writer.list(acl, ({ permissions, scheme, id }) => {
    writer.int(permissions, "the permissions of an ACL");
    writer.text(scheme, "the scheme of an ACL");
    writer.text(id, "the id of an ACL");
  });
}
