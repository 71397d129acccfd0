/**
 * The plugins that come with the command, by their package's name. By literal names, so that they are part of what a
 * bundler makes of the command.
 */
export const OWN_PLUGINS: Readonly<Record<string, () => Promise<{ readonly default?: unknown }>>> = {
  "@zk-backyp/source-zookeeper": () => import("@zk-backyp/source-zookeeper"),
  "@zk-backyp/sink-fs": () => import("@zk-backyp/sink-fs"),
  "@zk-backyp/sink-s3": () => import("@zk-backyp/sink-s3"),
};
