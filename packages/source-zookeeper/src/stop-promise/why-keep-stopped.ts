import { stat } from "node:fs/promises";
import type { NodeControl } from "../node-control/node-control.ts";

/** Why an operator wants the node to stay stopped, so that nothing of ours may start it; null if nothing says so. */
export async function whyKeepStopped(
  { control, stayStoppedFile }: { readonly control: NodeControl; readonly stayStoppedFile: string | null },
  signal: AbortSignal,
): Promise<string | null> {
  if (stayStoppedFile !== null && (await exists(stayStoppedFile))) return `${stayStoppedFile} is there`;
  return (await control.whyKeepStopped?.({ signal })) ?? null;
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
