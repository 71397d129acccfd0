import { beforeEach, describe, expect, it } from "vitest";
import { keys } from "./backup-id.ts";
import { collect, oneChunk } from "./bytes.ts";
import { type ErrorCode, isBackypError } from "./errors.ts";
import { describePin, isInForce } from "./pins.ts";
import { openSeries, type Series } from "./series.ts";
import type { Sink } from "./sink.ts";
import { memorySink, scriptedSource } from "./testing/index.ts";

const { signal } = new AbortController();
const NOW = new Date("2027-01-01T00:00:00Z");

describe("a pin", () => {
  let sink: Sink;
  let series: Series;
  let id: string;

  beforeEach(async () => {
    sink = memorySink();
    series = openSeries({ prefix: "zk", source: scriptedSource({ a: "good" }), sink, clock: () => NOW });
    id = (await series.backup())?.id ?? "";
  });

  const put = (text: string): Promise<unknown> => sink.put(keys.pin("zk", id), oneChunk(Buffer.from(text)), { signal });
  const expectCode = (promise: Promise<unknown>, code: ErrorCode): Promise<void> =>
    expect(promise).rejects.toSatisfy((error) => isBackypError(error, code));

  it("is stored as JSON beside the backup, listed, replaced and taken away", async () => {
    expect(await series.pins()).toEqual([]);
    const until = new Date("2027-06-30T23:59:59.999Z");
    const pin = await series.pin("latest", { until, reason: "before 3.9" });
    expect(pin).toEqual({
      formatVersion: 1,
      id,
      pinnedAt: "2027-01-01T00:00:00.000Z",
      until: "2027-06-30T23:59:59.999Z",
      reason: "before 3.9",
    });
    expect(JSON.parse((await collect(sink.get(`zk/pins/${id}.json`, { signal }), 1e4)).toString())).toEqual(pin);
    expect(await series.pins()).toEqual([pin]);
    const again = await series.pin(id);
    expect(again).toMatchObject({ until: null, reason: null });
    expect(await series.pins()).toEqual([again]);
    expect(await series.unpin(id)).toBe(true);
    expect(await series.unpin("latest")).toBe(false);
    expect(await series.pins()).toEqual([]);
  });

  it.each(["zk-20200101T000000000Z", "other-20200101T000000000Z", "nonsense", "", "../zk", "zk/manifests/x"])(
    "of %j, which is no backup, is refused",
    async (wrong) => {
      await expectCode(series.pin(wrong), "ERR_BACKUP_NOT_FOUND");
      await expectCode(series.unpin(wrong), "ERR_BACKUP_NOT_FOUND");
      expect(await series.pins()).toEqual([]);
    },
  );

  it.each([
    { until: NOW },
    { until: new Date("2020-01-01") },
    { until: new Date(Number.NaN) },
    { until: new Date("+010000-01-01T00:00:00Z") },
    { reason: "x".repeat(1001) },
  ])("with %j is refused", async (options) => {
    await expectCode(series.pin(id, options), "ERR_CONFIG_INVALID");
    expect(await series.pins()).toEqual([]);
  });

  it.each([
    "",
    "{",
    "null",
    "{}",
    '{"formatVersion":2}',
    JSON.stringify({ formatVersion: 1, id: "zk-20200101T000000000Z", pinnedAt: NOW, until: null, reason: null }),
    `{"padding":"${"x".repeat(70_000)}"}`,
  ])("that cannot be read holds, is listed with its error, and can be replaced: %.60j", async (text) => {
    await put(text);
    const [pin] = await series.pins();
    if (pin === undefined || !("error" in pin)) throw new Error("it was read");
    expect(pin).toMatchObject({ id, error: { code: "ERR_MANIFEST_INVALID", message: expect.stringContaining(id) } });
    expect(isInForce(pin, NOW)).toBe(true);
    expect(describePin(pin)).toBe("pinned, but the pin cannot be read");
    await series.pin(id, { reason: "anew" });
    expect(await series.pins()).toMatchObject([{ reason: "anew" }]);
  });

  it("that cannot be read can be taken away", async () => {
    await put("{");
    expect(await series.unpin(id)).toBe(true);
    expect(await series.pins()).toEqual([]);
  });

  it("of a backup whose manifest cannot be read is possible", async () => {
    await sink.put(keys.manifest("zk", id), oneChunk(Buffer.from("{")), { signal });
    expect(await series.pin(id)).toMatchObject({ id });
  });

  it("does not stay when a prune took the backup meanwhile", async () => {
    const racing: Sink = {
      ...sink,
      async put(key, body, options) {
        await sink.delete(keys.manifest("zk", id), { signal });
        return sink.put(key, body, options);
      },
    };
    const late = openSeries({ prefix: "zk", source: scriptedSource({}), sink: racing, clock: () => NOW });
    await expectCode(late.pin(id), "ERR_BACKUP_NOT_FOUND");
    expect(await series.pins()).toEqual([]);
  });

  it("holds up to and including its last millisecond", () => {
    const pin = { formatVersion: 1, id, pinnedAt: "", until: "2027-01-01T00:00:00.000Z", reason: null } as const;
    expect(isInForce(pin, NOW)).toBe(true);
    expect(isInForce(pin, new Date(NOW.getTime() + 1))).toBe(false);
    expect(isInForce({ ...pin, until: null }, new Date("9999-01-01"))).toBe(true);
  });
});
