import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type SupervisedNode, startSupervisedNode } from "./cold-kill-node.ts";
import { Ordeal } from "./cold-kill-ordeal.ts";

/** Nodes that serve one test after the other: as many as there are tests at a time. */
export class Nodes {
  readonly #free: SupervisedNode[] = [];
  readonly #all: SupervisedNode[] = [];
  readonly #folder: Promise<string> = mkdtemp(join(tmpdir(), "zk-backyp-kill-"));
  #count = 0;

  /** Puts a node of its own through it, which serves again afterwards, with no process left of what was done to it. */
  async use(work: (ordeal: Ordeal) => Promise<void>, options: { readonly withHelper?: boolean } = {}): Promise<void> {
    const node = this.#free.pop() ?? (await this.#start());
    const ordeal = new Ordeal(node, options);
    await work(ordeal);
    // After a failure it may be in any state, and is used no more.
    this.#free.push(node);
    await ordeal.untilNoProcessIsLeft();
  }

  async end(): Promise<void> {
    await Promise.all(this.#all.map((node) => node.end()));
    await rm(await this.#folder, { recursive: true, force: true });
  }

  async #start(): Promise<SupervisedNode> {
    this.#count += 1;
    const name = `node-${this.#count}`;
    const node = await startSupervisedNode(join(await this.#folder, name));
    this.#all.push(node);
    return node;
  }
}
