import { z } from "zod";

/** Where, and how, a server is asked. */
export interface ServerAddress {
  readonly host: string;
  readonly port: number;
  /**
   * `tls`: four-letter words over TLS, on the `secureClientPort`. `http`, `https`: the AdminServer (3.5 and later).
   * Without: four-letter words on the plain client port.
   */
  readonly scheme?: "tls" | "http" | "https";
}

const FORM = /^(?:(tls|http|https):\/\/)?(\[[0-9a-fA-F:.]+\]|[^\s:/[\]=]+):(\d{1,5})$/;

/** `host:port`, `tls://host:port`, `http://host:port` or `https://host:port`; an IPv6 address in brackets. */
export const serverAddressSchema: z.ZodType<string> = z
  .string()
  .regex(FORM, "is not host:port, tls://host:port, http://host:port or https://host:port")
  .refine((text) => {
    const port = Number(text.split(":").at(-1));
    return port > 0 && port < 65_536;
  }, "has no such port");

const MEMBER_FORM = /^(?:(\d{1,15})=)?(.*)$/;

/** The address of a member of an ensemble, if need be with its id: `3=host:port`. */
export const memberAddressSchema: z.ZodType<string> = z
  .string()
  .refine(
    (text) => serverAddressSchema.safeParse(MEMBER_FORM.exec(text)?.[2] ?? "").success,
    "is none of host:port, tls://host:port, http://host:port, https://host:port, also with an id before it (3=host:port)",
  );

/** Takes an address of that form apart. */
export function parseMemberAddress(text: string): { id: number | null; address: ServerAddress } {
  const [, id, address = ""] = MEMBER_FORM.exec(text) ?? [];
  return { id: id === undefined ? null : Number(id), address: parseServerAddress(address) };
}

/** Takes an address of that form apart. */
export function parseServerAddress(text: string): ServerAddress {
  const [, scheme, host = "", port] = FORM.exec(text) ?? [];
  const address = { host: host.replace(/^\[|\]$/g, ""), port: Number(port) };
  return scheme === undefined ? address : { scheme: scheme as "tls" | "http" | "https", ...address };
}

/** The same form again. */
export function formatServerAddress({ scheme, host, port }: ServerAddress): string {
  return `${scheme === undefined ? "" : `${scheme}://`}${host.includes(":") ? `[${host}]` : host}:${port}`;
}
