import type { TextLine } from "./erb.ts";

/** The lines of a script, without comments. */
export function commands(lines: readonly TextLine[]): TextLine[] {
  return lines.filter(({ text }) => text.trim() !== "" && !/^\s*#(?!!)/.test(text));
}

/** Whether a script sets one of bash's short options, such as `e`, by its shebang or by one of its first commands. */
export function setsOption(lines: readonly TextLine[], option: "e" | "u"): boolean {
  const long = option === "e" ? "errexit" : "nounset";
  const [shebang, ...others] = commands(lines);
  const first = shebang?.text ?? "";
  if (first.startsWith("#!") && new RegExp(`\\s-\\w*${option}`).test(first)) return true;
  const body = first.startsWith("#!") ? others : [shebang, ...others];
  return body.slice(0, 5).some((line) => {
    const options = /^\s*set\s+(.*)/.exec(line?.text ?? "")?.[1] ?? "";
    return new RegExp(`(?:^|\\s)-\\w*${option}\\w*(?:\\s|;|$)|-\\w*o\\s+${long}\\b`).test(options);
  });
}

/** Whether a job's script says what a failed command means: by `set -e` or `set +e`, or as it is but one `exec`. */
export function decidesOnErrors(lines: readonly TextLine[]): boolean {
  const [, first, second] = commands(lines);
  if (second === undefined && /^exec\s/.test(first?.text ?? "")) return true;
  return (
    setsOption(lines, "e") ||
    commands(lines)
      .slice(1, 6)
      .some(({ text }) => /^\s*set\s(?:.*\s)?\+\w*e/.test(text))
  );
}

/** Whether a line switches on bash's tracing. */
export function isTraced(line: string): boolean {
  return /^\s*set\s+(?:.*\s)?-\w*x|^\s*set\s.*-o\s+xtrace|^#!.*\s-\w*x/.test(line);
}
