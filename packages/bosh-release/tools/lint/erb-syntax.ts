import { spawnSync } from "node:child_process";

/** A template for Ruby to look at. */
export interface Template {
  readonly file: string;
  readonly text: string;
}

// Compiles, and runs nothing. ERB begins with a line of its own, so the first line of the template is that of number 0.
const PROGRAM = `
require "erb"
require "json"
found = JSON.parse($stdin.read).flat_map do |template|
  RubyVM::InstructionSequence.compile(ERB.new(template["text"], trim_mode: "-").src, "template", "template", 0)
  []
rescue SyntaxError => e
  [{ file: template["file"], problem: e.message }]
end
print JSON.generate(found)
`;

/**
 * Has Ruby look at the syntax of templates, all in one process.
 * @returns what is wrong, or a string that says why that could not be found out.
 */
export function erbSyntax(templates: readonly Template[]): { file: string; line: number; problem: string }[] | string {
  const ruby = spawnSync("ruby", ["-W0", "-e", PROGRAM], {
    input: JSON.stringify(templates),
    encoding: "utf8",
    timeout: 60_000,
    maxBuffer: 64 * 1024 * 1024,
  });
  if (ruby.error !== undefined) {
    return (ruby.error as NodeJS.ErrnoException).code === "ENOENT" ? "there is no ruby" : ruby.error.message;
  }
  if (ruby.status !== 0) return `ruby ended with ${ruby.status ?? ruby.signal}: ${ruby.stderr.trim().slice(0, 500)}`;
  const found = JSON.parse(ruby.stdout) as { file: string; problem: string }[];
  return found.map(({ file, problem }) => {
    const [, line = "1", text = problem] = /^template:(\d+): ([^\n]*)/m.exec(problem) ?? [];
    return { file, line: Math.max(Number(line), 1), problem: text };
  });
}
