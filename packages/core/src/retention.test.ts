import { describe, expect, it } from "vitest";
import { backupId, timeOfBackupId } from "./backup-id.ts";
import { BackypError, isBackypError } from "./errors.ts";
import type { Pin, PinItem } from "./pins.ts";
import { planRetention, type RetentionBackup } from "./retention.ts";
import { parseRetentionRules, type RetentionRules } from "./retention-rules.ts";

const NOW = new Date("2027-03-01T12:00:00Z");
const idAt = (time: string): string => backupId("zk", new Date(time));

interface Kind {
  readonly kind?: string;
  readonly after?: string | null;
  readonly upTo?: string;
  readonly verified?: boolean;
}

function backup(
  time: string,
  { kind = "full", after = null, upTo = "0x1", verified = true }: Kind = {},
): RetentionBackup {
  return { id: idAt(time), manifest: { kind, range: { after, upTo }, verified } };
}

function unreadable(time: string): RetentionBackup {
  return { id: idAt(time), error: new BackypError("ERR_MANIFEST_INVALID", "it is damaged") };
}

function pinOf(id: string, until: string | null, reason: string | null = null): Pin {
  return { formatVersion: 1, id, pinnedAt: "2026-01-01T00:00:00.000Z", until, reason };
}

/** The times of what is kept, and why. */
function kept(
  backups: readonly RetentionBackup[],
  rules: RetentionRules,
  pins: readonly PinItem[] = [],
): Record<string, string> {
  const plan = planRetention({ backups, pins, rules, now: NOW });
  return Object.fromEntries(
    plan
      .filter(({ keep }) => keep)
      .map(({ id, reasons }) => [new Date(timeOfBackupId(id) ?? 0).toISOString().slice(0, 16), reasons.join(", ")]),
  );
}

describe("the rules of retention", () => {
  it.each([
    [{}, /no rule would keep a backup/],
    [{ timeZone: "UTC" }, /no rule would keep a backup/],
    [{ keepLast: 0 }, /keepLast: .*>=1/],
    [{ daily: -1 }, /daily: /],
    [{ daily: 1.5 }, /daily: /],
    [{ daily: "7" }, /daily: .*expected number/],
    [{ keepLast: Number.NaN }, /keepLast: /],
    [{ within: "2 weeks" }, /within: is no duration/],
    [{ within: "0d" }, /within: is no duration/],
    [{ daily: 1, timeZone: "Mars/Olympus" }, /timeZone: is no time zone/],
    [{ keepDaily: 7 }, /keepDaily/],
    [null, /expected object/],
    [undefined, /expected object/],
  ])("refuse %j", (raw, message) => {
    const parse = (): unknown => parseRetentionRules(raw);
    expect(parse).toThrow(message);
    expect(() => planRetention({ backups: [], pins: [], rules: raw as RetentionRules, now: NOW })).toThrow(message);
    try {
      parse();
    } catch (error) {
      expect(isBackypError(error, "ERR_CONFIG_INVALID")).toBe(true);
    }
  });

  it("take each rule by itself", () => {
    for (const rules of [{ keepLast: 1 }, { within: "36h" }, { hourly: 1 }, { yearly: 3, timeZone: "Europe/Berlin" }]) {
      expect(parseRetentionRules(rules)).toEqual(rules);
    }
  });
});

describe("a plan", () => {
  const daily = ["2027-02-26T01:00", "2027-02-27T01:00", "2027-02-27T13:00", "2027-02-28T01:00", "2027-03-01T01:00"];
  const backups = daily.map((time) => backup(`${time}:00Z`));

  it.each<[RetentionRules, string[]]>([
    [{ keepLast: 2 }, ["2027-02-28T01:00", "2027-03-01T01:00"]],
    [{ keepLast: 99 }, daily],
    [{ daily: 3 }, ["2027-02-27T13:00", "2027-02-28T01:00", "2027-03-01T01:00"]],
    [{ monthly: 2 }, ["2027-02-28T01:00", "2027-03-01T01:00"]],
    [{ weekly: 2 }, ["2027-02-28T01:00", "2027-03-01T01:00"]],
    [{ yearly: 5 }, ["2027-03-01T01:00"]],
    [{ hourly: 3 }, ["2027-02-27T13:00", "2027-02-28T01:00", "2027-03-01T01:00"]],
    [{ within: "1d" }, ["2027-02-28T01:00", "2027-03-01T01:00"]],
    [{ within: "1d", keepLast: 3 }, ["2027-02-27T13:00", "2027-02-28T01:00", "2027-03-01T01:00"]],
    [{ daily: 2, timeZone: "Pacific/Kiritimati" }, ["2027-02-28T01:00", "2027-03-01T01:00"]],
  ])("with %j keeps what any rule keeps", (rules, expected) => {
    expect(Object.keys(kept(backups, rules))).toEqual(expected);
  });

  it("says why, of each backup, oldest first", () => {
    const pins = [pinOf(idAt("2027-02-26T01:00:00Z"), "2027-06-30T23:59:59.999Z", "before 3.9")];
    expect(planRetention({ backups: backups.toReversed(), pins, rules: { daily: 2, keepLast: 1 }, now: NOW })).toEqual([
      {
        id: idAt("2027-02-26T01:00:00Z"),
        keep: true,
        reasons: ["pinned until 2027-06-30T23:59:59.999Z (before 3.9)"],
      },
      { id: idAt("2027-02-27T01:00:00Z"), keep: false, reasons: ["no rule keeps it"] },
      { id: idAt("2027-02-27T13:00:00Z"), keep: false, reasons: ["no rule keeps it"] },
      { id: idAt("2027-02-28T01:00:00Z"), keep: true, reasons: ["daily 2027-02-28"] },
      {
        id: idAt("2027-03-01T01:00:00Z"),
        keep: true,
        reasons: ["the last", "daily 2027-03-01", "the last verified one"],
      },
    ]);
  });

  it("of no backups is empty", () => {
    expect(planRetention({ backups: [], pins: [], rules: { keepLast: 1 }, now: NOW })).toEqual([]);
  });

  it("counts days that have a backup: a pause costs none", () => {
    const paused = [backup("2026-06-01T01:00:00Z"), backup("2026-06-02T01:00:00Z"), backup("2026-06-03T01:00:00Z")];
    expect(Object.keys(kept(paused, { daily: 2 }))).toEqual(["2026-06-02T01:00", "2026-06-03T01:00"]);
    expect(Object.keys(kept(paused, { within: "1d" }))).toEqual(["2026-06-02T01:00", "2026-06-03T01:00"]);
  });

  it("keeps the last verified one, however many damaged ones came after it", () => {
    const damaged = ["2027-02-27", "2027-02-28", "2027-03-01"].map((day) =>
      backup(`${day}T01:00:00Z`, { verified: false }),
    );
    expect(kept([backup("2027-02-26T01:00:00Z"), ...damaged], { keepLast: 1 })).toEqual({
      "2027-02-26T01:00": "the last verified one",
      "2027-03-01T01:00": "the last",
    });
  });

  it("takes no damaged one for the newest of a period that has a verified one", () => {
    const mixed = [
      backup("2027-02-27T01:00:00Z"),
      backup("2027-02-27T02:00:00Z", { verified: false }),
      backup("2027-02-28T01:00:00Z", { verified: false }),
      backup("2027-02-28T02:00:00Z", { verified: false }),
      backup("2027-03-01T01:00:00Z"),
    ];
    expect(Object.keys(kept(mixed, { daily: 3 }))).toEqual([
      "2027-02-27T01:00",
      "2027-02-28T02:00",
      "2027-03-01T01:00",
    ]);
  });

  it("keeps backups from the future, and lets them take nobody's place", () => {
    const ahead = ["2028-01-01T00:00:00Z", "2028-01-02T00:00:00Z"].map((time) => backup(time));
    expect(kept([...backups, ...ahead], { keepLast: 1 })).toEqual({
      "2027-03-01T01:00": "the last, the last verified one",
      "2028-01-01T00:00": "it is from the future: a clock was or is wrong",
      "2028-01-02T00:00": "it is from the future: a clock was or is wrong",
    });
  });

  it("keeps what cannot be read, and the last full one before it, which it may need", () => {
    const all = [...backups.slice(0, 3), unreadable("2027-02-27T14:00:00Z"), ...backups.slice(3)];
    expect(kept(all, { keepLast: 1 })).toEqual({
      "2027-02-27T13:00": `needed by ${idAt("2027-02-27T14:00:00Z")}`,
      "2027-02-27T14:00": "its manifest cannot be read",
      "2027-03-01T01:00": "the last, the last verified one",
    });
  });

  it("keeps what has an id that is no date", () => {
    const odd = { ...backup("2027-02-01T00:00:00Z"), id: "zk-20271301T000000000Z" };
    const plan = planRetention({ backups: [...backups, odd], pins: [], rules: { keepLast: 1 }, now: NOW });
    expect(plan.at(-1)).toEqual({ id: odd.id, keep: true, reasons: ["its id holds no date"] });
  });

  it("lets a pin go that has expired, and holds on to one that cannot be read", () => {
    const [first = "", second = "", third = ""] = backups.map(({ id }) => id);
    const error = new BackypError("ERR_MANIFEST_INVALID", "damaged");
    const pins = [pinOf(first, "2027-03-01T11:59:59.999Z"), { id: second, error }, pinOf(third, null, "audit")];
    expect(kept(backups, { keepLast: 1 }, [...pins, pinOf("zk-20200101T000000000Z", null)])).toEqual({
      "2027-02-27T01:00": "pinned, but the pin cannot be read",
      "2027-02-27T13:00": "pinned (audit)",
      "2027-03-01T01:00": "the last, the last verified one",
    });
  });

  it("is about real days where clocks change", () => {
    // In Berlin: 23:30 on the last day of winter time, 00:30 and 23:30 on the short day, and the long day likewise.
    const night = ["2026-03-28T22:30", "2026-03-28T23:30", "2026-03-29T21:30", "2026-10-24T22:30", "2026-10-25T22:30"];
    const found = kept(
      night.map((time) => backup(`${time}:00Z`)),
      { daily: 9, timeZone: "Europe/Berlin" },
    );
    expect(found).toEqual({
      "2026-03-28T22:30": "daily 2026-03-28",
      "2026-03-29T21:30": "daily 2026-03-29",
      "2026-10-25T22:30": "daily 2026-10-25, the last verified one",
    });
  });
});

describe("what increments need", () => {
  const increment = (time: string, after: string, upTo: string, verified = true): RetentionBackup =>
    backup(time, { kind: "incremental", after, upTo, verified });
  const chain = [
    backup("2027-02-20T00:00:00Z", { upTo: "0x5" }),
    backup("2027-02-21T00:00:00Z", { upTo: "0x10" }),
    increment("2027-02-22T00:00:00Z", "0x10", "0x20"),
    increment("2027-02-23T00:00:00Z", "0x20", "0x30"),
  ];

  it("is all back to the full one that they begin after", () => {
    expect(Object.keys(kept(chain, { keepLast: 1 }))).toEqual([
      "2027-02-21T00:00",
      "2027-02-22T00:00",
      "2027-02-23T00:00",
    ]);
  });

  it("is not a full one that ends before they begin, nor one that is damaged", () => {
    const more = [
      ...chain.slice(0, 3),
      backup("2027-02-22T10:00:00Z", { upTo: "0x15" }),
      backup("2027-02-22T11:00:00Z", { upTo: "0x100000001", verified: false }),
      ...chain.slice(3),
    ];
    expect(Object.keys(kept(more, { keepLast: 1 }))).toEqual([
      "2027-02-21T00:00",
      "2027-02-22T00:00",
      "2027-02-22T10:00",
      "2027-02-22T11:00",
      "2027-02-23T00:00",
    ]);
  });

  it("is a later full one that reaches as far", () => {
    const more = [...chain.slice(0, 3), backup("2027-02-22T12:00:00Z", { upTo: "0x25" }), ...chain.slice(3)];
    expect(Object.keys(kept(more, { keepLast: 1 }))).toEqual(["2027-02-22T12:00", "2027-02-23T00:00"]);
  });

  it("is everything where there is no full one", () => {
    expect(Object.keys(kept(chain.slice(2), { keepLast: 1 }))).toEqual(["2027-02-22T00:00", "2027-02-23T00:00"]);
  });
});
