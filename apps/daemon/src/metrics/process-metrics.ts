import { collectDefaultMetrics, Registry } from "prom-client";

/** How often the event loop's lag is measured, in milliseconds: prom-client's 10 would wake an idle daemon all the time. */
const LAG_EVERY_MS = 100;

let registry: Registry | null = null;

/**
 * What prom-client tells of the process: CPU, memory, open files, event loop, garbage collection. One registry for all
 * that is measured in this process, since the observers behind it cannot be taken away again.
 */
export function processMetrics(): Registry {
  if (registry !== null) return registry;
  registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: "zk_backyp_", eventLoopMonitoringPrecision: LAG_EVERY_MS });
  // Gauges that are called like counters, which Prometheus' own linter refuses. The same figures are there by type.
  for (const name of ["handles", "requests", "resources"]) {
    registry.removeSingleMetric(`zk_backyp_nodejs_active_${name}_total`);
  }
  return registry;
}
