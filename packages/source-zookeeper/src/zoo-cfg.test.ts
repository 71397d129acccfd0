import { describe, expect, it } from "vitest";
import { parseProperties, withoutSecrets } from "./zoo-cfg.ts";

describe("zoo.cfg", () => {
  it("is read as a properties file", () => {
    const text =
      "# note\n! too\ntickTime=2000\r\n dataDir = /data dir/x \nserver.1: a:2888:3888\\\n  ;2181\nempty=\ndataDir=/last\n";
    expect(Object.fromEntries(parseProperties(text))).toEqual({
      tickTime: "2000",
      "server.1": "a:2888:3888;2181",
      empty: "",
      dataDir: "/last",
    });
  });

  it.each([
    "ssl.keyStore.password=x",
    "ssl.quorum.trustStore.password = x",
    "sslQuorum.keyStore.passwordPath=x",
    "zookeeper.DigestAuthenticationProvider.superDigest=x",
    "my.secret: x",
  ])("is kept without the value of %s", (line) => {
    const kept = withoutSecrets(`a=1\n${line}\nb=2\n`);
    expect(kept).toMatch(/^a=1\n.*\(left out\)\nb=2\n$/);
    expect(kept).not.toMatch(/x\n/);
  });
});
