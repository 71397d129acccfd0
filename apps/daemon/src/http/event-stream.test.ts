import type { ServerResponse } from "node:http";
import { PassThrough } from "node:stream";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type MadeView, madeView } from "../testing/made-view.ts";
import { createEventStreams, type EventStreams } from "./event-stream.ts";

let view: MadeView;
let streams: EventStreams;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval"] });
  view = madeView([{ name: "a" }, { name: "b" }]);
  streams = createEventStreams(view);
});

afterEach(() => {
  streams.close();
  vi.useRealTimers();
});

/** A response whose other end is read, or is not. */
class Reader extends PassThrough {
  status: number | null = null;
  writeHead(status: number): void {
    this.status = status;
  }
  text(): string {
    return String(this.read() ?? "");
  }
  events(): { name: string; data: Record<string, unknown> }[] {
    return [...this.text().matchAll(/^event: (.*)\ndata: (.*)$/gm)].map(([, name = "", data = ""]) => ({
      name,
      data: JSON.parse(data),
    }));
  }
}

function open(): Reader {
  const reader = new Reader();
  streams.open(reader as unknown as ServerResponse);
  return reader;
}

const tick = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

it("sends the whole status at once, and when to come back", () => {
  const reader = open();
  expect(reader.status).toBe(200);
  const text = reader.text();
  expect(text).toMatch(/^retry: 3000\n\nevent: status\ndata: \{.*\}\n\n$/);
  expect(JSON.parse(text.split("data: ")[1] ?? "")).toEqual(JSON.parse(JSON.stringify(view.status())));
});

it("tells of changes four times a second at most, and then how it is", async () => {
  const reader = open();
  reader.text();
  for (let ms = 0; ms < 1_000; ms += 10) {
    view.change("a", { failuresInARow: ms });
    await tick(10);
  }
  const seen = reader.events();
  expect(seen.length).toBeGreaterThanOrEqual(3);
  expect(seen.length).toBeLessThanOrEqual(5);
  await tick(300);
  const last = [...seen, ...reader.events()].at(-1);
  expect(last).toMatchObject({ name: "status", data: { name: "a", failuresInARow: 990 } });
  await tick(10_000);
  expect(reader.text()).toBe("");
});

it("tells of each series that has changed, and of the daemon as a whole when that has", async () => {
  const reader = open();
  reader.text();
  view.change("a", { failuresInARow: 1 });
  view.change("b", { failuresInARow: 2 });
  await tick(1);
  expect(reader.events().map(({ data }) => data.name)).toEqual(["a", "b"]);
  view.change("a", { failuresInARow: 3 });
  view.changeDaemon({ state: "stopping" });
  await tick(1_000);
  expect(reader.events()).toMatchObject([{ data: { state: "stopping", series: [{ failuresInARow: 3 }, {}] } }]);
});

it("does not mind a series that a reload has taken away", async () => {
  const reader = open();
  reader.text();
  view.events.emit("changed", "gone");
  await tick(1_000);
  expect(reader.text()).toBe("");
  view.reload([{ name: "c" }]);
  await tick(1_000);
  expect(reader.events()).toMatchObject([{ data: { series: [{ name: "c" }] } }]);
});

it("tells of every run that ends, at once", () => {
  const reader = open();
  reader.text();
  view.startRun("a");
  const run = view.endRun("a", { outcome: "failed", message: "line one\nline two\r\nevent: forged" });
  expect(reader.events()).toEqual([{ name: "run", data: { series: "a", run } }]);
});

it("lets nothing that a message says look like another event", () => {
  const reader = open();
  reader.text();
  view.endRun("a", { message: "x\n\nevent: forged\ndata: {}\n\n" });
  expect(reader.text()).not.toMatch(/^event: forged/m);
});

it("says every 15 seconds that it is there", async () => {
  const reader = open();
  reader.text();
  await tick(45_100);
  expect(reader.text()).toBe(": still here\n\n".repeat(3));
});

it("listens to the view once, whatever the number of readers, and not at all when closed", async () => {
  const before = (["changed", "run:end"] as const).map((event) => view.events.listenerCount(event));
  expect(before).toEqual([1, 1]);
  const readers = Array.from({ length: 100 }, open);
  expect(streams.count).toBe(100);
  expect(view.events.listenerCount("changed")).toBe(1);
  for (const reader of readers) reader.destroy();
  await tick(1);
  expect(streams.count).toBe(0);
  streams.close();
  expect((["changed", "run:end", "run:start"] as const).map((event) => view.events.listenerCount(event))).toEqual([
    0, 0, 0,
  ]);
  expect(vi.getTimerCount()).toBe(0);
});

it("hangs up on who does not read, and keeps no more than a bounded part for him", async () => {
  const [reading, stalled] = [open(), open()];
  let most = 0;
  for (let round = 0; round < 5_000 && !stalled.destroyed; round++) {
    view.endRun("a", { message: "x".repeat(10_000) });
    reading.text();
    most = Math.max(most, stalled.writableLength);
  }
  expect(stalled.destroyed).toBe(true);
  expect(most).toBeLessThan(1024 * 1024 + 64 * 1024);
  await tick(1);
  expect(streams.count).toBe(1);
  expect(reading.destroyed).toBe(false);
});

it("refuses the 1,001st reader, until one of the others has gone", async () => {
  const readers = Array.from({ length: 1_000 }, open);
  expect(open).toThrow(expect.objectContaining({ code: "ERR_TOO_MANY_STREAMS" }));
  readers[0]?.destroy();
  await tick(1);
  expect(open().status).toBe(200);
});

it("ends all readers when it is closed, and takes none afterwards", async () => {
  const reader = open();
  const ended = new Promise((resolve) => reader.on("end", resolve));
  streams.close();
  reader.resume();
  await ended;
  expect(open).toThrow(expect.objectContaining({ code: "ERR_TOO_MANY_STREAMS", message: "the daemon is stopping" }));
});
