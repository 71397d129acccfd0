import { type Instance, type PlanOptions, planDeployment } from "../testing/director.ts";
import type { Properties } from "../testing/render-job.ts";

/** An instance group with the job zookeeper alone. */
export interface Group {
  readonly name?: string;
  readonly instances: number;
  readonly azs?: readonly string[];
  readonly properties?: Properties;
  /** What the manifest says of the links that the job consumes. */
  readonly consumes?: Readonly<Record<string, unknown>>;
}

/** What a Director makes of a deployment of such groups. */
export function planMembers(groups: readonly Group[], options: PlanOptions = {}): readonly Instance[] {
  const manifest = {
    name: "zoo",
    releases: [{ name: "zookeeper-hybris", version: "latest" }],
    stemcells: [{ alias: "default", os: "ubuntu-noble", version: "latest" }],
    update: { canaries: 1, max_in_flight: 1, canary_watch_time: "1000-2000", update_watch_time: "1000-2000" },
    instance_groups: groups.map(
      ({ name = "zookeeper", instances, azs = ["z1", "z2", "z3"], properties, consumes }) => ({
        name,
        instances,
        azs,
        vm_type: "small",
        stemcell: "default",
        persistent_disk: 1024,
        networks: [{ name: "default" }],
        jobs: [
          {
            name: "zookeeper",
            release: "zookeeper-hybris",
            properties: properties ?? {},
            ...(consumes === undefined ? {} : { consumes }),
          },
        ],
      }),
    ),
  };
  return planDeployment(manifest, { localDns: false, ...options }).instances;
}
