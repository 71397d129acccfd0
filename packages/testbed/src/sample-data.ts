import type { MultiOperation, ZooKeeperClient } from "./zookeeper-client.ts";

/**
 * Fills a server with what three of its usual clients keep there, at their usual paths: a message broker's topics, a
 * column store's replication queues, an application's configuration. Some hundred znodes in a few dozen transactions,
 * among them ephemeral ones, which last as long as the client's session.
 *
 * @returns the number of znodes created
 */
export async function writeSampleData(client: ZooKeeperClient): Promise<number> {
  const groups = [brokerZnodes(), columnStoreZnodes(), applicationZnodes()];
  let count = 0;
  for (const group of groups) {
    for (let at = 0; at < group.length; at += 25) {
      const batch = group.slice(at, at + 25);
      await client.multi(batch);
      count += batch.length;
    }
  }
  await client.setData("/app/config/features", json({ checkout: "v2", search: "v1", darkMode: true }));
  await client.delete("/app/locks/migration-7");
  return count - 1;
}

const TOPICS = [
  ["orders", 12],
  ["payments", 6],
  ["shipments", 6],
  ["clicks", 24],
  ["audit", 3],
] as const;

function brokerZnodes(): MultiOperation[] {
  const brokers = [1, 2, 3];
  return [
    ...folders("/brokers", "/brokers/ids", "/brokers/topics", "/config", "/config/topics", "/admin", "/consumers"),
    create("/controller_epoch", Buffer.from("4")),
    create("/cluster", null),
    create("/cluster/id", json({ version: "1", id: "mK3xT9wQRyOq7f0f2LrZbA" })),
    create("/admin/delete_topics", null),
    ...brokers.map((id) =>
      create(`/brokers/ids/${id}`, json({ host: `broker-${id}`, port: 9092, version: 5, endpoints: [] }), true),
    ),
    create("/controller", json({ version: 1, brokerid: 2 }), true),
    ...TOPICS.flatMap(([topic, partitions]) => [
      create(
        `/brokers/topics/${topic}`,
        json({ version: 2, partitions: Object.fromEntries(range(partitions).map((p) => [p, replicas(p)])) }),
      ),
      create(`/config/topics/${topic}`, json({ version: 1, config: { "retention.ms": "604800000" } })),
      ...folders(`/brokers/topics/${topic}/partitions`),
      ...range(partitions).flatMap((partition) => [
        create(`/brokers/topics/${topic}/partitions/${partition}`, null),
        create(
          `/brokers/topics/${topic}/partitions/${partition}/state`,
          json({
            controller_epoch: 4,
            leader: (partition % 3) + 1,
            version: 1,
            leader_epoch: 0,
            isr: replicas(partition),
          }),
        ),
      ]),
    ]),
  ];
}

function columnStoreZnodes(): MultiOperation[] {
  const table = "/clickhouse/tables/01/events";
  return [
    ...folders("/clickhouse", "/clickhouse/task_queue", "/clickhouse/task_queue/ddl", "/clickhouse/tables"),
    ...folders("/clickhouse/tables/01"),
    create(table, Buffer.from("")),
    create(
      `${table}/columns`,
      Buffer.from("columns format version: 1\n3 columns:\n`at` DateTime\n`user` UInt64\n`what` String\n"),
    ),
    create(`${table}/metadata`, Buffer.from("metadata format version: 1\ndate column: \nprimary key: user, at\n")),
    ...folders(`${table}/blocks`, `${table}/log`, `${table}/replicas`),
    ...["a", "b"].flatMap((replica) => [
      create(`${table}/replicas/${replica}`, null),
      create(`${table}/replicas/${replica}/is_active`, Buffer.from(`replica-${replica}`), true),
      ...folders(`${table}/replicas/${replica}/parts`, `${table}/replicas/${replica}/queue`),
      ...range(40).map((part) =>
        create(`${table}/replicas/${replica}/parts/202609_${part}_${part}_0`, binary(96, part)),
      ),
    ]),
    ...range(40).map((part) =>
      create(`${table}/blocks/202609_${part * 7919}`, Buffer.from(`202609_${part}_${part}_0`)),
    ),
    ...range(12).map(
      (entry): MultiOperation => ({
        type: "create",
        path: `${table}/log/log-`,
        data: Buffer.from(`format version: 4\nsource replica: a\nget\n202609_${entry}_${entry}_0\n`),
        sequential: true,
      }),
    ),
  ];
}

function applicationZnodes(): MultiOperation[] {
  const features = json({ checkout: "v1", search: "v1", darkMode: false });
  return [
    ...folders("/app", "/app/config", "/app/locks", "/app/services", "/app/users"),
    create("/app/config/features", features),
    create("/app/config/database", json({ host: "db.example.org", pool: 20, timeoutMs: 3000 })),
    create("/app/config/grüße", Buffer.from("Grüße, 你好")),
    create("/app/config/logo", binary(20_000, 1)),
    create("/app/locks/migration-7", Buffer.from("held")),
    ...["billing", "catalog", "search"].flatMap((service) => [
      create(`/app/services/${service}`, null),
      ...range(3).map((instance) =>
        create(`/app/services/${service}/${instance}`, json({ address: `10.0.0.${instance + 10}:8080` }), true),
      ),
    ]),
    ...range(60).map((user) => create(`/app/users/${user + 1000}`, json({ plan: user % 4 === 0 ? "pro" : "free" }))),
  ];
}

function create(path: string, data: Buffer | null, ephemeral = false): MultiOperation {
  return { type: "create", path, data, ephemeral };
}

function folders(...paths: string[]): MultiOperation[] {
  return paths.map((path) => create(path, null));
}

function range(length: number): number[] {
  return Array.from({ length }, (_, index) => index);
}

function replicas(partition: number): number[] {
  return [(partition % 3) + 1, ((partition + 1) % 3) + 1];
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

// Does not compress, like the checksums and images that are kept there.
function binary(length: number, seed: number): Buffer {
  let state = seed + 1;
  return Buffer.from(
    range(length).map(() => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state >>> 24;
    }),
  );
}
