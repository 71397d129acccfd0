import { describe, expect, it } from "vitest";
import {
  formatServerAddress,
  memberAddressSchema,
  parseMemberAddress,
  parseServerAddress,
  serverAddressSchema,
} from "./server-address.ts";

describe("a server's address", () => {
  it.each([
    ["localhost:2181", { host: "localhost", port: 2181 }],
    ["zk_1.example:2181", { host: "zk_1.example", port: 2181 }],
    ["[::1]:2181", { host: "::1", port: 2181 }],
    ["tls://10.0.0.1:2281", { scheme: "tls", host: "10.0.0.1", port: 2281 }],
    ["http://zk:8080", { scheme: "http", host: "zk", port: 8080 }],
    ["https://[fe80::1]:8080", { scheme: "https", host: "fe80::1", port: 8080 }],
  ])("%s is taken apart and put together again", (text, address) => {
    expect(serverAddressSchema.safeParse(text).success).toBe(true);
    expect(parseServerAddress(text)).toEqual(address);
    expect(formatServerAddress(parseServerAddress(text))).toBe(text);
  });

  it.each([
    "",
    "localhost",
    ":2181",
    "localhost:",
    "localhost:0",
    "localhost:65536",
    "localhost:999999",
    "a b:2181",
    "::1:2181",
    "ftp://a:21",
    "http://a:8080/commands",
    "https://user:secret@a:8080",
    "3=a:2181",
  ])("is not %j", (text) => {
    expect(serverAddressSchema.safeParse(text).success).toBe(false);
  });

  it.each([
    ["a:2181", null, { host: "a", port: 2181 }],
    ["3=a:2181", 3, { host: "a", port: 2181 }],
    ["12=https://[::1]:8080", 12, { scheme: "https", host: "::1", port: 8080 }],
  ])("may have a member's id before it: %s", (text, id, address) => {
    expect(memberAddressSchema.safeParse(text).success).toBe(true);
    expect(parseMemberAddress(text)).toEqual({ id, address });
  });

  it.each(["3=", "=a:2181", "x=a:2181", "3=4=a:2181", "3=a"])("of a member is not %j", (text) => {
    expect(memberAddressSchema.safeParse(text).success).toBe(false);
  });
});
