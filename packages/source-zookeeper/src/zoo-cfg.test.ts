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
    "zookeeper.DigestAuthenticationProvider.superDigest=x",
    "my.secret: x",
    "ssl.keyStore.password x",
    "ssl.keyStore.password\tx",
    "ssl.keyStore.password=abc\\\n  x",
    "ssl.keyStore.p\\u0061ssword=x",
    "api.token=x",
    "sasl.jaas.config=user_super=x",
  ])("is kept without the value of %j", (line) => {
    const kept = withoutSecrets(`tickTime=1\n${line}\nclientPort=2\n`);
    expect(kept).toMatch(/^tickTime=1\n.*=\(left out\)\nclientPort=2\n$/);
    expect(kept).not.toMatch(/abc|x$/m);
  });

  it.each(["#ssl.keyStore.password=x", " # ! ssl.keyStore.passwd x", "! x"])(
    "is kept without the comment %j",
    (line) => {
      expect(withoutSecrets(`a=1\n${line}\n`)).toBe("a=(left out)\n");
    },
  );

  it("keeps what tells how the server ran", () => {
    const text = "dataDir=/d\nclientPort=2181\nserver.1=a:1:2:participant;0.0.0.0:2181\nautopurge.snapRetainCount=3\n";
    expect(withoutSecrets(text)).toBe(text);
  });

  it("keeps no setting's value where one is empty before it", () => {
    expect(withoutSecrets("ssl.keyStore.password=\nclientPort=2181\n")).toBe(
      "ssl.keyStore.password=(left out)\nclientPort=2181\n",
    );
  });
});
