import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server } from "node:net";
import { freePorts } from "@zk-backyp/testbed";
import type { NodeControl, NodeState, NodeStatus } from "../src/node-control/node-control.ts";

/** A call that a test gives another course to. `usual` is what would have been done. */
type Course<Result> = (usual: () => Promise<Result>, signal: AbortSignal) => Promise<Result> | Result;

/**
 * Looks from outside like a server and its supervisor, and can be made to fail in every way: a process that does nothing, a
 * port that answers four-letter words, and the word of the supervisor, each with a life of its own.
 */
export class MadeNode {
  readonly port: number;
  /** What it answers. An ensemble's member has an id, and members in `membership`. */
  role = "standalone";
  zxid = 0x22n;
  id = 0;
  membership = "";
  /** The supervisor's word. */
  state: NodeState = "stopped";
  /** How often the supervisor was asked. */
  stops = 0;
  starts = 0;
  /** Set to replace what the supervisor does. */
  onStop: Course<void> | null = null;
  onStart: Course<void> | null = null;
  onStatus: Course<NodeStatus> | null = null;
  startCommand: readonly string[] | null = ["/bin/true"];
  #process: ChildProcess | null = null;
  #server: Server | null = null;

  private constructor(port: number) {
    this.port = port;
  }

  /** A node that runs. */
  static async start(): Promise<MadeNode> {
    const [port = 0] = await freePorts(1);
    const node = new MadeNode(port);
    await node.rise();
    node.state = "running";
    return node;
  }

  get server(): string {
    return `127.0.0.1:${this.port}`;
  }

  get pid(): number | null {
    return this.#process?.pid ?? null;
  }

  /** Whether it is there for its clients. */
  get isUp(): boolean {
    return this.#process !== null && this.#server !== null;
  }

  readonly control: NodeControl = this.#control();

  #control(): NodeControl {
    const node = this;
    return {
      name: "the made node",
      async stop({ signal }) {
        node.stops += 1;
        const usual = (): Promise<void> => node.stopAsAsked();
        await (node.onStop === null ? usual() : node.onStop(usual, signal));
      },
      async start({ signal }) {
        node.starts += 1;
        const usual = (): Promise<void> => node.startAsAsked();
        await (node.onStart === null ? usual() : node.onStart(usual, signal));
      },
      async status({ signal }) {
        const usual = async (): Promise<NodeStatus> => ({ state: node.state, pid: node.pid });
        return node.onStatus === null ? usual() : node.onStatus(usual, signal);
      },
      get startCommand() {
        return node.startCommand;
      },
      async close() {},
    };
  }

  async stopAsAsked(): Promise<void> {
    await this.fall();
    this.state = "stopped";
  }

  async startAsAsked(): Promise<void> {
    await this.rise();
    this.state = "running";
  }

  /** Process and port, if they are not there. */
  async rise(): Promise<void> {
    this.spawn();
    await this.listen();
  }

  async fall(): Promise<void> {
    await this.deafen();
    await this.kill();
  }

  spawn(): void {
    // Ends with this process, as its stdin does.
    this.#process ??= spawn("cat", { stdio: ["pipe", "ignore", "ignore"] });
  }

  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = null;
    if (child === null) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  }

  async listen(): Promise<void> {
    if (this.#server !== null) return;
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", (word) => socket.end(this.#answer(String(word))));
    });
    this.#server = server;
    server.listen(this.port, "127.0.0.1");
    await once(server, "listening");
  }

  async deafen(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (server === null) return;
    const closed = once(server, "close");
    server.close();
    await closed;
  }

  #answer(word: string): string {
    const srvr = `Zookeeper version: 3.8.4-x, built on y\nZxid: 0x${this.zxid.toString(16)}\nMode: ${this.role}\nNode count: 5\n`;
    const conf = `clientPort=${this.port}\nserverId=${this.id}\n${this.membership === "" ? "" : `membership: \n${this.membership}version=0\n`}`;
    return { srvr, conf, mntr: `zk_server_state\t${this.role}\n` }[word] ?? "";
  }
}

/** Members of one ensemble, that know each other; the first leads. */
export async function makeEnsemble(size: number): Promise<MadeNode[]> {
  const nodes = await Promise.all(Array.from({ length: size }, () => MadeNode.start()));
  const lines = nodes.map(({ port }, index) => `server.${index + 1}=127.0.0.1:1:1:participant;127.0.0.1:${port}\n`);
  for (const [index, node] of nodes.entries()) {
    node.id = index + 1;
    node.role = index === 0 ? "leader" : "follower";
    node.membership = lines.join("");
  }
  return nodes;
}
