import { mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Instance } from "./director.ts";
import { renderJob } from "./render-job.ts";
import { AGENT_PATH, type Ended, type Machine } from "./stemcell.ts";

/** What becomes of machine, instance and deployment after a stop: `BOSH_VM_NEXT_STATE` and the like. */
export interface NextStates {
  readonly vm: "keep" | "delete";
  readonly instance: "keep" | "delete";
  readonly deployment: "keep" | "delete";
}

const KEEP: NextStates = { vm: "keep", instance: "keep", deployment: "keep" };
const MONIT = "/var/vcap/bosh/bin/monit";
// As the agent has it.
const STOP_WITHIN_MS = 5 * 60_000;

/** A script of a job that failed, with what it said. */
class ScriptError extends Error {}

/**
 * What the BOSH agent does with a machine, as far as jobs notice: puts rendered jobs where they belong, and runs their
 * scripts and monit in its order. Facts: the agent's `jobsupervisor/monit_job_supervisor.go`, `agent/applier` and
 * `agent/script`.
 */
export class Agent {
  readonly machine: Machine;
  #jobs: readonly string[] = [];
  #generation = 0;

  constructor(machine: Machine) {
    this.machine = machine;
  }

  /** Renders the instance's jobs and replaces those that are there; monit knows none of them yet. */
  async apply(instance: Instance): Promise<void> {
    const { vcap } = this.machine;
    this.#generation += 1;
    const jobs = instance.jobs.map(({ name }) => name);
    await rm(join(vcap, "monit/job"), { recursive: true });
    await mkdir(join(vcap, "monit/job"));
    for (const name of this.#jobs) await rm(join(vcap, "jobs", name), { force: true });
    for (const { name, context } of instance.jobs) {
      const installed = `data/jobs/${name}/${this.#generation}`;
      await renderJob({ job: name, context, into: join(vcap, installed) });
      await symlink(`/var/vcap/${installed}`, join(vcap, "jobs", name));
      await this.#must(["chown", "-R", "root:vcap", `/var/vcap/${installed}`]);
      await this.#must(["chmod", "-R", "u=rwX,g=rX,o=", `/var/vcap/${installed}`]);
      for (const folder of [`data/sys/run/${name}`, `data/sys/log/${name}`, `data/${name}`]) {
        await this.#must(["install", "-d", "-m", "0770", "-o", "root", "-g", "vcap", `/var/vcap/${folder}`]);
      }
    }
    // A real one links only what the jobs name; the linter says whether they name all that they use.
    await this.#must(["sh", "-c", "ln -sfn /var/vcap/data/packages/* /var/vcap/packages/"]);
    this.#jobs = jobs;
    await this.#reloadMonit();
  }

  /** pre-start of all jobs, then monit starts them, then post-start of all. */
  async start(patienceMs: number = 5 * 60_000): Promise<void> {
    await this.#scripts("pre-start");
    await this.monitStart();
    await this.#untilRunning(patienceMs);
    await this.#scripts("post-start");
  }

  /** As `start` does between the scripts: monit gets to know the jobs no sooner than after their pre-start. */
  async monitStart(): Promise<void> {
    for (const [index, name] of this.#jobs.entries()) {
      const monitrc = `/var/vcap/monit/job/${String(index).padStart(4, "0")}_${name}.monitrc`;
      await this.#must(["install", "-m", "0600", `/var/vcap/jobs/${name}/monit`, monitrc]);
    }
    await this.#reloadMonit();
    for (const { name } of await this.services()) await this.#must([MONIT, "start", name]);
    await rm(join(this.machine.vcap, "monit/stopped"), { force: true });
  }

  /** pre-stop of all jobs, drain of all, monit stops them, post-stop of all. */
  async stop(next: NextStates = KEEP): Promise<void> {
    const env = {
      BOSH_VM_NEXT_STATE: next.vm,
      BOSH_INSTANCE_NEXT_STATE: next.instance,
      BOSH_DEPLOYMENT_NEXT_STATE: next.deployment,
    };
    await this.#scripts("pre-stop", env);
    await this.drain();
    await this.monitStop();
    await this.#scripts("post-stop", env);
  }

  /** Unmonitors everything, as the agent does before it drains, and runs the drain scripts. */
  async drain(): Promise<void> {
    for (const { name } of await this.services()) await this.#must([MONIT, "unmonitor", name]);
    await Promise.all(
      this.#jobs.map(async (job) => {
        const script = `/var/vcap/jobs/${job}/bin/drain`;
        for (;;) {
          if ((await this.machine.run(["test", "-e", script])).code !== 0) return;
          const { stdout } = await this.machine.run([script, "job_shutdown", "hash_unchanged"]);
          if (!/^\s*-?\d+\s*$/.test(stdout)) throw new ScriptError(`drain of ${job} printed ${JSON.stringify(stdout)}`);
          const seconds = Number(stdout);
          await sleep(Math.abs(seconds) * 1000);
          if (seconds >= 0) return;
        }
      }),
    );
  }

  /** Has monit stop everything, and waits until it says that nothing is monitored or pending. */
  async monitStop(): Promise<void> {
    // The stemcell's monit 5.2.5 runs the stop program of what is not monitored any more, newer ones do not.
    for (const { name, isMonitored } of await this.services()) {
      if (!isMonitored) await this.#must([MONIT, "monitor", name]);
    }
    await this.#must([MONIT, "stop", "-g", "vcap"]);
    await writeFile(join(this.machine.vcap, "monit/stopped"), "");
    const deadline = performance.now() + STOP_WITHIN_MS;
    for (;;) {
      const left = (await this.services()).filter(({ isMonitored, isPending }) => isMonitored || isPending);
      if (left.length === 0) return;
      if (performance.now() > deadline) {
        throw new Error(`timed out waiting for ${left.map(({ name }) => name).join(", ")} to stop`);
      }
      await sleep(500);
    }
  }

  /** Runs an errand that is on this machine. */
  errand(job: string): Promise<Ended> {
    return this.machine.run([`/var/vcap/jobs/${job}/bin/run`]);
  }

  /** What monit knows of the group that the agent looks after. */
  async services(): Promise<readonly MonitService[]> {
    const { stdout } = await this.#must([
      ...["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/2822; printf '%s' \"$0\" >&3; cat <&3"],
      `GET /_status2?format=xml HTTP/1.0\r\nAuthorization: Basic ${CREDENTIALS}\r\n\r\n`,
    ]);
    const group = /<servicegroup name="vcap">(.*?)<\/servicegroup>/s.exec(stdout)?.[1] ?? "";
    const names = [...group.matchAll(/<service>(.*?)<\/service>/g)].map(([, name]) => name ?? "");
    return names.map((name) => {
      const xml = new RegExp(`<service name="${name}">(.*?)</service>`, "s").exec(stdout)?.[1] ?? "";
      const field = (tag: string): number =>
        Number(new RegExp(`<${tag}>(-?\\d+)</${tag}>`).exec(xml)?.[1] ?? Number.NaN);
      const isMonitored = field("monitor") === 1;
      return {
        name,
        isMonitored,
        isPending: field("pendingaction") !== 0,
        isRunning: isMonitored && field("status") === 0,
      };
    });
  }

  async #untilRunning(patienceMs: number): Promise<void> {
    const deadline = performance.now() + patienceMs;
    for (;;) {
      const waiting = (await this.services()).filter(({ isRunning, isPending }) => !isRunning || isPending);
      if (waiting.length === 0) return;
      if (performance.now() > deadline) {
        const names = waiting.map(({ name }) => name).join(", ");
        throw new Error(`${this.machine.name}: ${names} not running after ${patienceMs} ms`);
      }
      await sleep(500);
    }
  }

  async #scripts(name: string, env: Readonly<Record<string, string>> = {}): Promise<void> {
    await Promise.all(
      this.#jobs.map(async (job) => {
        const script = `/var/vcap/jobs/${job}/bin/${name}`;
        if ((await this.machine.run(["test", "-e", script])).code !== 0) return;
        const logs = `/var/vcap/sys/log/${job}/${name}`;
        const { code } = await this.machine.run(
          ["bash", "-c", `exec "$0" >>'${logs}.stdout.log' 2>>'${logs}.stderr.log' </dev/null`, script],
          { env: { PATH: AGENT_PATH, ...env } },
        );
        if (code === 0) return;
        const said = await this.machine.run(["tail", "-n", "20", `${logs}.stdout.log`, `${logs}.stderr.log`]);
        throw new ScriptError(`${name} of ${job} on ${this.machine.name} ended with ${code}: ${said.stdout}`);
      }),
    );
  }

  async #reloadMonit(): Promise<void> {
    // The agent kills it and has runit start it again: what was asked of it is lost.
    await this.machine.run([MONIT, "quit"]);
    for (
      let tries = 0;
      tries < 100 && (await this.machine.run(["pgrep", "-x", "monit-actual"])).code === 0;
      tries += 1
    ) {
      await sleep(100);
    }
    await this.#must([MONIT]);
    for (let tries = 0; ; tries += 1) {
      const answers = await this.services().catch(() => null);
      if (answers !== null) return;
      if (tries === 100) throw new Error(`monit of ${this.machine.name} does not answer`);
      await sleep(100);
    }
  }

  async #must(argv: readonly string[]): Promise<Ended> {
    const ended = await this.machine.run(argv);
    if (ended.code !== 0) {
      throw new Error(`${this.machine.name}: ${argv.join(" ")}: ${ended.code}: ${ended.stderr}${ended.stdout}`);
    }
    return ended;
  }
}

/** A process that monit looks after. */
export interface MonitService {
  readonly name: string;
  readonly isMonitored: boolean;
  readonly isPending: boolean;
  readonly isRunning: boolean;
}

const CREDENTIALS = Buffer.from("vcap:random-password").toString("base64");
