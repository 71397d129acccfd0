import { once } from "node:events";
import { resolve } from "node:path";
import { BackypError, type Logger, parseWith } from "@zk-backyp/core";
import {
  BOSH_STOPPED_FILE,
  nodeControlSchema,
  openNodeControl,
  type RootHelperOptions,
  startRootHelper,
} from "@zk-backyp/source-zookeeper";
import { z } from "zod";
import type { CommandContext } from "../command-context.ts";
import { readConfig } from "../config.ts";
import { ExitCode } from "../exit-codes.ts";
import type { CliLogger } from "../logger.ts";
import { requireOwnFile } from "../own-file.ts";

const path = z.string().min(1, "is empty");

const schema = z.strictObject({
  socket: path,
  group: z.union([path, z.int().min(0)]).optional(),
  control: nodeControlSchema,
  stateDir: path,
  maxDowntimeMs: z.int().min(1_000, "is less than a second").max(86_400_000, "is more than a day").default(300_000),
  stayStoppedFile: path.default(BOSH_STOPPED_FILE),
});

/** `helper`: stops and starts one server for backups that may not, until it is told to end. */
export async function helper(flags: { readonly config: string }, { signal, logger }: CommandContext): Promise<number> {
  const file = await requireOwnFile(flags.config);
  // A program could load what was not looked at.
  if (!/\.(ya?ml|json)$/.test(file)) {
    throw new BackypError("ERR_CONFIG_INVALID", `${file}: the helper's configuration is a .yaml or .json file`);
  }
  const config = await readConfig(file);
  if (config?.helper === undefined) throw new BackypError("ERR_CONFIG_INVALID", `${file} has no section helper`);
  const {
    socket,
    group,
    control: controlOptions,
    stateDir,
    ...options
  } = parseWith(schema, config.helper, `the section helper of ${file}`);
  const place = (name: string): string => resolve(config.folder, name);
  const control = openNodeControl(controlOptions, config.folder);
  try {
    const running = await startRootHelper({
      ...options,
      ...(group === undefined ? {} : { group: String(group) }),
      control,
      socket: place(socket),
      stateDir: place(stateDir),
      stayStoppedFile: place(options.stayStoppedFile),
      logger: journalLogger(logger),
    } satisfies RootHelperOptions);
    if (!signal.aborted) await once(signal, "abort");
    await running.close();
    return ExitCode.ok;
  } finally {
    await control.close();
  }
}

/** A line for each thing that happens, with its time: for whoever looks after the fact. */
function journalLogger(logger: CliLogger): Logger {
  const write = (fields: object, message: string): void => {
    const known = Object.entries(fields).map(([name, value]) => ` ${name}=${JSON.stringify(value)}`);
    logger.say(`${new Date().toISOString()} ${message}${known.join("")}`);
  };
  return { debug() {}, info: write, warn: (fields, message) => write(fields, `warning: ${message}`) };
}
