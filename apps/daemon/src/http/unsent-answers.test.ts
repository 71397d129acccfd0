import { EventEmitter } from "node:events";
import type { ServerResponse } from "node:http";
import { expect, it } from "vitest";
import { unsentAnswers } from "./unsent-answers.ts";

const MIB = 1024 * 1024;
const full = expect.objectContaining({ code: "ERR_UNAVAILABLE" });
const response = (): ServerResponse => new EventEmitter() as unknown as ServerResponse;

it("takes 64 MiB of answers, and more when some were sent or given up", () => {
  const answers = unsentAnswers();
  const responses = Array.from({ length: 64 }, response);
  for (const one of responses) answers.add(one, MIB);
  expect(() => answers.add(response(), MIB)).toThrow(full);
  expect(() => answers.requireRoom()).toThrow(full);
  responses[0]?.emit("close");
  expect(() => answers.requireRoom()).not.toThrow();
  answers.add(response(), MIB);
  expect(() => answers.add(response(), MIB)).toThrow(full);
  for (const one of responses.slice(1)) one.emit("close");
  answers.add(response(), 63 * MIB);
});

it("does not count what was refused", () => {
  const answers = unsentAnswers();
  for (let attempt = 0; attempt < 100; attempt++) expect(() => answers.add(response(), 65 * MIB)).toThrow(full);
  answers.add(response(), 64 * MIB);
});

it("always has room for small answers", () => {
  const answers = unsentAnswers();
  answers.add(response(), 64 * MIB);
  for (let count = 0; count < 100_000; count++) answers.add(response(), 1_000);
});
