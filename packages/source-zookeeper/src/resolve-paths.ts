import { resolve } from "node:path";
import type { ZooKeeperSourceOptions } from "./options.ts";

/** Options whose relative paths count from `folder`. What stops the node resolves its own. */
export function resolvePaths(options: ZooKeeperSourceOptions, folder: string): ZooKeeperSourceOptions {
  const { tls, cold } = options;
  return {
    ...options,
    ...resolved(options, ["dataDir", "dataLogDir", "zooCfg"], folder),
    ...(tls === undefined ? {} : { tls: { ...tls, ...resolved(tls, ["caFile", "certFile", "keyFile"], folder) } }),
    ...(cold === undefined
      ? {}
      : { cold: { ...cold, ...resolved(cold, ["linkDir", "stateDir", "stayStoppedFile"], folder) } }),
  };
}

function resolved<Options extends object>(options: Options, names: readonly (keyof Options)[], folder: string): object {
  return Object.fromEntries(
    names.flatMap((name) => {
      const path = options[name];
      return typeof path === "string" ? [[name, resolve(folder, path)]] : [];
    }),
  );
}
