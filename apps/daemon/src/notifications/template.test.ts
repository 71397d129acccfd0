import { expect, it } from "vitest";
import { madeNotification } from "../testing/made-notification.ts";
import { checkTemplate, fillTemplate, TEMPLATE_FIELDS } from "./template.ts";

it.each([
  ["a text", "{{series}}: {{message}}", "zk-prod: zk-prod: the backup on zk-1 failed: no space left"],
  ["spaces in the braces", "{{ event }}", "failure"],
  ["a number and a truth value", "{{failuresInARow}} {{reminder}}", "1 false"],
  ["nothing for what is not known", "<{{lastGoodId}}>", "<>"],
  [
    "lists and objects, but not their keys",
    { "{{series}}": ["{{host}}", 3, null, true] },
    { "{{series}}": ["zk-1", 3, null, true] },
  ],
])("fills %s", (_, body, filled) => {
  expect(checkTemplate(body)).toEqual([]);
  expect(fillTemplate(body, madeNotification())).toEqual(filled);
});

it("knows a placeholder for every field", () => {
  const notification = madeNotification();
  expect([...TEMPLATE_FIELDS].sort()).toEqual(Object.keys(notification).sort());
});

it.each([
  `"}],"admin":true,"x":[{"`,
  "line\nbreak \u2028 \u0000 \\",
  "{{message}}{{errorCode}}",
  "</script><!channel>",
  "$& $1 $$",
  "\ud800 half a character",
])("puts %j into a text and nowhere else", (hostile) => {
  const filled = fillTemplate({ text: "a {{series}} b" }, madeNotification({ series: hostile }));
  expect(filled).toEqual({ text: `a ${hostile} b` });
  expect(Object.keys(JSON.parse(JSON.stringify(filled)) as object)).toEqual(["text"]);
});

it("keeps a key that is called like a prototype a key", () => {
  const body: unknown = JSON.parse('{"__proto__": {"text": "{{series}}"}}');
  expect(JSON.stringify(fillTemplate(body, madeNotification()))).toBe('{"__proto__":{"text":"zk-prod"}}');
});

it("says where a placeholder is that nobody knows, and which there are", () => {
  const issues = checkTemplate({ blocks: [{ text: "{{series}} {{sereis}}" }, "{{constructor}}", "{{}}"] });
  expect(issues.map(({ path }) => path)).toEqual([
    ["blocks", 0, "text"],
    ["blocks", 1],
    ["blocks", 2],
  ]);
  expect(issues[0]?.message).toMatch(/^\{\{sereis\}\} is not known; there are \{\{event\}\}, .*\{\{series\}\}/);
});

it.each([
  ["a date", new Date(0)],
  ["a function", () => {}],
  ["no number", Number.NaN],
  ["undefined", undefined],
  ["a big integer", 1n],
])("refuses %s, which JSON does not have", (_, value) => {
  expect(checkTemplate({ field: value })).toEqual([{ path: ["field"], message: "is nothing that JSON has" }]);
});

it("refuses what refers to itself", () => {
  const body: { self?: unknown } = {};
  body.self = body;
  expect(checkTemplate(body)).toHaveLength(1);
});
