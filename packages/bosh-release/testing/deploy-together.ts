import { Agent } from "./agent.ts";
import type { Node } from "./cluster.ts";
import { planDeployment } from "./director.ts";
import type { Network } from "./stemcell.ts";

/** A job of a group, as a manifest has it. */
export interface ManifestJob {
  readonly name: string;
  readonly properties?: object;
}

/**
 * Deploys one group named zookeeper with these jobs to new machines, all instances at the same time, so that an ensemble
 * does not wait for each of its members in turn. The bootstrap instance comes first.
 *
 * @param number of the first machine in the network
 */
export async function deployTogether(
  network: Network,
  given: {
    readonly instances: number;
    readonly jobs: readonly ManifestJob[];
    readonly packages: string;
    readonly sees: readonly string[];
    readonly number: number;
  },
): Promise<readonly Node[]> {
  const { instances, jobs, packages, sees, number } = given;
  const ips = Array.from({ length: instances }, (_, index) => `10.77.0.${number + index}`);
  const manifest = {
    name: "zk",
    releases: [{ name: "zookeeper-hybris", version: "1" }],
    stemcells: [{ alias: "default", os: "ubuntu-noble", version: "1" }],
    update: { canaries: 1, max_in_flight: 1, canary_watch_time: 1000, update_watch_time: 1000 },
    instance_groups: [
      {
        name: "zookeeper",
        instances,
        azs: ["z1"],
        vm_type: "default",
        persistent_disk_type: "default",
        stemcell: "default",
        networks: [{ name: "default" }],
        jobs: jobs.map((job) => ({ properties: {}, ...job, release: "zookeeper-hybris" })),
      },
    ],
  };
  const deployment = planDeployment(manifest, { localDns: false, groups: { zookeeper: { ips } } });
  const nodes = await Promise.all(
    deployment.instances.map(async (instance) => {
      const machine = await network.machine({
        name: `zk-${number + instance.index}`,
        number: number + instance.index,
        packages,
        sees,
      });
      const agent = new Agent(machine);
      await agent.apply(instance);
      return { instance, machine, agent };
    }),
  );
  await Promise.all(nodes.map(({ agent }) => agent.start()));
  return nodes.toSorted((a, b) => Number(b.instance.bootstrap) - Number(a.instance.bootstrap));
}
