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

  it("does not let a comment go on", () => {
    expect(Object.fromEntries(parseProperties("# C:\\conf\\\ndataDir=/x\n"))).toEqual({ dataDir: "/x" });
  });

  it.each([
    "ssl.keyStore.password=x",
    "ssl.quorum.trustStore.password = x",
    "sslQuorum.keyStore.passwordPath=x",
    "zookeeper.DigestAuthenticationProvider.superDigest=x",
    "my.secret: x",
    "ssl.keyStore.password x",
    "ssl.keyStore.password=abc\\\n  x",
    "#ssl.keyStore.password=x",
    " # ! ssl.keyStore.passwd x",
  ])("is kept without the value of %s", (line) => {
    const kept = withoutSecrets(`a=1\n${line}\nb=2\n`);
    expect(kept).toMatch(/^a=1\n.*\(left out\)\nb=2\n$/);
    expect(kept).not.toMatch(/abc|x\n/);
  });

  it("keeps everything else as it is", () => {
    const text = "# the password is elsewhere\nssl.keyStore.password=\nclientPort=2181\r\n\nserver.1=a:1:2\n";
    expect(withoutSecrets(text)).toBe(text.replace("\r", ""));
  });
});
