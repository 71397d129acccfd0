import { describe, expect, test } from "vitest";
import { type EpochFiles, epochOfNothing, epochRefusal } from "./epoch-files.ts";
import type { ServerRelease } from "./server-release.ts";

const NONE: EpochFiles = { currentEpoch: null, acceptedEpoch: null, currentEpochTmp: null, updatingEpoch: false };
/** In epoch 2. */
const ZXID = 0x2_0000_0005n;

const refusal = (files: Partial<EpochFiles>, release: ServerRelease = "3.9.4"): string | null =>
  epochRefusal({ ...NONE, ...files }, ZXID, release)?.code ?? null;

describe("a member starts", () => {
  test.each<[string, Partial<EpochFiles>]>([
    ["without the files", {}],
    ["with those of the data", { currentEpoch: "2", acceptedEpoch: "2" }],
    ["with later ones", { currentEpoch: "3", acceptedEpoch: "7" }],
    ["with a later accepted one alone", { acceptedEpoch: "7" }],
    ["with a line behind the number", { currentEpoch: "2\n", acceptedEpoch: "2\r\nmore" }],
    ["with a plus before the number", { currentEpoch: "+2", acceptedEpoch: "+2" }],
    ["with a leftover that is of no use", { currentEpoch: "2", acceptedEpoch: "2", currentEpochTmp: "x" }],
  ])("%s", (_, files) => {
    expect([refusal(files), refusal(files, "3.4")]).toEqual([null, null]);
  });
});

describe("a member does not start", () => {
  test.each<[string, Partial<EpochFiles>, string]>([
    ["with an older epoch than its data", { currentEpoch: "1", acceptedEpoch: "2" }, "EPOCH_OLDER_THAN_DATA"],
    ["with a negative epoch", { currentEpoch: "-1" }, "EPOCH_OLDER_THAN_DATA"],
    ["with an accepted epoch before the current one", { currentEpoch: "5", acceptedEpoch: "4" }, "EPOCHS_CONFLICT"],
    ["with a current epoch alone that is later", { currentEpoch: "5" }, "EPOCHS_CONFLICT"],
    ["with a blank before the number", { currentEpoch: " 2" }, "EPOCH_UNREADABLE"],
    ["with a blank behind the number", { currentEpoch: "2 " }, "EPOCH_UNREADABLE"],
    ["with an empty file", { currentEpoch: "" }, "EPOCH_UNREADABLE"],
    ["with an empty first line", { currentEpoch: "2", acceptedEpoch: "\n2" }, "EPOCH_UNREADABLE"],
    ["with a word", { acceptedEpoch: "two" }, "EPOCH_UNREADABLE"],
    ["with a number beyond 63 bits", { currentEpoch: "9223372036854775808" }, "EPOCH_UNREADABLE"],
  ])("%s", (_, files, code) => {
    expect([refusal(files), refusal(files, "3.4")]).toEqual([code, code]);
  });
});

test("an interrupted rewrite is finished: by 3.5 and later from what was written, by 3.4 from the data", () => {
  const older = { currentEpoch: "1", acceptedEpoch: "2" };
  expect(refusal({ ...older, currentEpochTmp: "2" }, "3.5.3")).toBeNull();
  expect(refusal({ ...older, currentEpochTmp: "2" }, "3.4")).toBe("EPOCH_OLDER_THAN_DATA");
  expect(refusal({ ...older, updatingEpoch: true }, "3.4")).toBeNull();
  expect(refusal({ ...older, updatingEpoch: true }, "3.5.3")).toBe("EPOCH_OLDER_THAN_DATA");
  expect(refusal({ ...older, currentEpochTmp: "" })).toBe("EPOCH_UNREADABLE");
  expect(refusal({ ...older, currentEpochTmp: "9" })).toBe("EPOCHS_CONFLICT");
});

test("every refusal is fatal, and says what to do", () => {
  for (const files of [{ currentEpoch: "1" }, { currentEpoch: "5" }, { acceptedEpoch: "1", currentEpoch: "2" }]) {
    expect(epochRefusal({ ...NONE, ...files }, ZXID, "3.8")).toMatchObject({
      severity: "fatal",
      message: expect.stringMatching(/Remove/),
    });
  }
});

test("an epoch without data may win an election", () => {
  expect(epochOfNothing({ ...NONE, currentEpoch: "5" })).toBe(5n);
  for (const currentEpoch of [null, "0", "x", "-3"]) expect(epochOfNothing({ ...NONE, currentEpoch })).toBeNull();
});
