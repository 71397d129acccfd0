import { expect, it } from "vitest";
import { yamlLine } from "./yaml-line.ts";

const TEXT = `# series: not this one
http: { port: 1 }
series:
  a:
    source:
      use: zookeeper
    "sink":
      path: /x # use: not this one

  'b.c':
      sink:
        use: fs
notifications:
- use: webhook
  url: http://x
-   use: command
    command:
      - page
      - me
log:
  level: info
`;

it.each<[path: string[], line: number | null]>([
  [["series"], 3],
  [["series", "a", "source", "use"], 6],
  [["series", "a", "sink", "path"], 8],
  [["series", "b.c", "sink", "use"], 12],
  // What is not in block style, or not there, is told by what is around it.
  [["http", "port"], 2],
  [["series", "a", "sink", "use"], 7],
  [["series", "c", "sink"], 3],
  [["notifications", "0", "url"], 15],
  [["notifications", "1", "use"], 16],
  [["notifications", "1", "command", "1"], 19],
  [["notifications", "2"], 13],
  [["log", "level"], 21],
  [["nothing"], null],
  [[], null],
])("finds %j in line %s", (path, line) => {
  expect(yamlLine(TEXT, path)).toBe(line);
});
