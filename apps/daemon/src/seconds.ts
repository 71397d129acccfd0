import { BackypError } from "@zk-backyp/core";

/** A week: the longest that a daemon can be held. As the API has it. */
export const MAX_HOLD_SECONDS = 604_800;

/**
 * What an option for seconds says, undefined if it is not given.
 *
 * @throws BackypError `ERR_CONFIG_INVALID` if that is no whole number from 1 to `most`
 */
export function secondsOf(flag: string, text: string | undefined, most: number): number | undefined {
  if (text === undefined) return undefined;
  const seconds = Number(text);
  if (/^\d+$/.test(text) && seconds >= 1 && seconds <= most) return seconds;
  throw new BackypError("ERR_CONFIG_INVALID", `${flag} ${JSON.stringify(text)}: give whole seconds, from 1 to ${most}`);
}
