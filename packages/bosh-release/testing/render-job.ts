import { spawn, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const RENDERER = fileURLToPath(new URL("render-job.rb", import.meta.url));
const RELEASE = fileURLToPath(new URL("..", import.meta.url));

/** Nested properties, as a manifest has them. */
export type Properties = { readonly [name: string]: unknown };

/** What a template sees as `spec`. More may be given, as a Director has more. */
export interface InstanceSpec {
  /** Of the instance group. */
  readonly name: string;
  readonly deployment: string;
  readonly id: string;
  readonly index: number;
  readonly az: string | null;
  readonly bootstrap: boolean;
  readonly address: string;
  readonly ip: string;
  readonly networks: Readonly<Record<string, { readonly ip: string }>>;
  /** MB; 0 if there is none. */
  readonly persistent_disk: number;
  readonly release: { readonly name: string; readonly version: string };
}

/** A link as a template sees it by `link("name")`. */
export interface LinkContext {
  readonly instances: readonly {
    readonly name: string;
    readonly id: string;
    readonly index: number;
    readonly az: string | null;
    readonly address: string;
    readonly bootstrap: boolean;
  }[];
  readonly properties: Properties;
}

/** All that the templates of one job on one instance see. */
export interface RenderContext {
  readonly spec: InstanceSpec;
  /** Of the job, without defaults: they come from its spec. */
  readonly properties: Properties;
  /** By the names that the job consumes them under. */
  readonly links?: Readonly<Record<string, LinkContext>>;
}

/** Templates that do not render, with the message of each. */
export class RenderError extends Error {}

/** What is missing to render templates, and how to get it, or null. */
export function rubyMissing(): string | null {
  const { status } = spawnSync("ruby", ["-rerb", "-ryaml", "-e", "0"]);
  return status === 0 ? null : "no ruby: apt-get install ruby";
}

/**
 * Renders `monit` and all templates of a job into a folder, with the modes that a BOSH agent sets. By Debian's ruby, with
 * a stand-in for the Director's classes.
 *
 * @throws RenderError if one of them does not render
 */
export async function renderJob(given: {
  /** Name of a job of this release. */
  readonly job: string;
  readonly context: RenderContext;
  /** Made if it is missing. */
  readonly into: string;
}): Promise<void> {
  const { job, context, into } = given;
  const child = spawn("ruby", [RENDERER], { stdio: ["pipe", "inherit", "pipe"] });
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    errors += chunk;
  });
  // It may end before it has read all.
  child.stdin.on("error", () => {});
  child.stdin.end(JSON.stringify({ job: `${RELEASE}jobs/${job}`, into, context }));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  if (code !== 0) throw new RenderError(errors.trim());
}
