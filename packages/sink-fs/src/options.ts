import { fileURLToPath } from "node:url";
import { BackypError } from "@zk-backyp/core";
import { z } from "zod";

export interface FsSinkOptions {
  /**
   * The directory that holds the objects. A relative path counts from the working directory. The first `put` creates
   * it where it does not exist.
   */
  readonly path: string;
}

export const fsSinkOptions: z.ZodType<FsSinkOptions> = z.strictObject({
  path: z
    .string()
    .min(1, "must name a directory")
    .refine((path) => !path.includes("\0"), "must not hold a NUL character")
    .meta({ description: "The directory that holds the objects.", examples: ["/backups"] }),
});

/** Options from `file:///backups`, or null for another kind of address. */
export function optionsFromUrl(url: URL): FsSinkOptions | null {
  if (url.protocol !== "file:") return null;
  const problem = url.search !== "" ? "has a query" : url.hash !== "" ? "has a fragment" : undefined;
  if (problem !== undefined) {
    throw new BackypError(
      "ERR_CONFIG_INVALID",
      `${url.href} ${problem}, which a directory does not take; write "?" as %3F and "#" as %23`,
    );
  }
  try {
    return { path: fileURLToPath(url) };
  } catch (cause) {
    throw new BackypError("ERR_CONFIG_INVALID", `${url.href} is no local directory; write file:///the/directory`, {
      cause,
    });
  }
}
