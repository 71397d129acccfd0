import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type SupervisedNode, startSupervisedNode } from "./cold-kill-node.ts";

/** Nodes that serve one test after the other: as many as there are tests at a time. */
export class Nodes {
  readonly #free: SupervisedNode[] = [];
  readonly #all: SupervisedNode[] = [];
  readonly #folder: Promise<string> = mkdtemp(join(tmpdir(), "zk-backyp-kill-"));
  #count = 0;

  /** Does the work with a node of its own, which serves again afterwards. */
  async use(work: (node: SupervisedNode) => Promise<void>): Promise<void> {
    const node = this.#free.pop() ?? (await this.#start());
    await work(node);
    // After a failure it may be in any state, and is used no more.
    this.#free.push(node);
  }

  async end(): Promise<void> {
    await Promise.all(this.#all.map((node) => node.end()));
    await rm(await this.#folder, { recursive: true, force: true });
  }

  async #start(): Promise<SupervisedNode> {
    this.#count += 1;
    const node = await startSupervisedNode(join(await this.#folder, `node-${this.#count}`));
    this.#all.push(node);
    return node;
  }
}
