import type { Manifest } from "@zk-backyp/core";
import { type FileName, type Problem, parseFileName } from "@zk-backyp/zookeeper-files";

/** Where a backup has its snapshot and its logs; what lies elsewhere is information, or damaged. */
const DATA_FOLDER = "version-2/";

/** What the name of a file in a backup says, where that is a snapshot or a log to restore; else null. */
export function dataFileName(path: string): FileName | null {
  return path.startsWith(DATA_FOLDER) ? parseFileName(path.slice(DATA_FOLDER.length)) : null;
}

/** What is damaged or missing, each as a sentence. */
export function damageIn(problems: readonly Pick<Problem, "severity" | "file" | "message">[]): string[] {
  return problems
    .filter(({ severity }) => severity !== "info")
    .map(({ file, message }) => (file === null ? message : `${file}: ${message}`));
}

/** What is known to be wrong with the data of a backup that was taken all the same. */
export function damageOf({ id, problems }: Manifest): string[] {
  return damageIn(problems).map((message) => `${id} was taken of damaged data: ${message}`);
}
