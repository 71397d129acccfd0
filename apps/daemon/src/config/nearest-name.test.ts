import { expect, it } from "vitest";
import { nearestName } from "./nearest-name.ts";

const NAMES = ["source", "sink", "prefix", "retention", "schedule", "runOn", "dataDir", "dataLogDir"];

it.each([
  ["retenton", "retention"],
  ["shcedule", "schedule"],
  ["datadir", "dataDir"],
  ["data_log_dir", "dataLogDir"],
  ["run-on", "runOn"],
  ["snk", "sink"],
  ["colour", null],
  ["", null],
])("takes %s for %s", (wrong, meant) => {
  expect(nearestName(wrong, NAMES)).toBe(meant);
});

it("knows nothing where there are no names", () => {
  expect(nearestName("a", [])).toBeNull();
});
