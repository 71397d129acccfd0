import { BackypError, type OptionSchema } from "@zk-backyp/core";
import { z } from "zod";

export interface WebdavSinkOptions {
  /** The collection that holds the objects: `https://dav.example.com/backups`. It must exist. */
  readonly url: string;
  /** For HTTP basic authentication. Default: none. */
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

export const webdavSinkOptions: OptionSchema<WebdavSinkOptions> = z.strictObject({
  url: z.url({ protocol: /^https?$/, error: "must be an address like https://host/collection" }),
  username: z.string().min(1).optional(),
  password: z.string().optional(),
});

/**
 * Options from `webdav://host/collection`, which stands for https, or with `?tls=false` for http. Null for another
 * kind of address.
 *
 * @throws BackypError `ERR_CONFIG_INVALID` for credentials, which an address would show to others
 */
export function optionsFromUrl(address: URL): WebdavSinkOptions | null {
  if (address.protocol !== "webdav:") return null;
  const where = `webdav://${address.host}${address.pathname}`;
  if (address.username !== "" || address.password !== "") {
    throw new BackypError("ERR_CONFIG_INVALID", `${where}: write username and password into a configuration file`);
  }
  const query = address.search.slice(1);
  if (!["", "tls=false", "tls=true"].includes(query) || address.hash !== "") {
    throw new BackypError("ERR_CONFIG_INVALID", `${where}: knows no parameter but tls=false`);
  }
  return { url: `${query === "tls=false" ? "http" : "https"}://${address.host}${address.pathname}` };
}
