import { expect, it } from "vitest";
import { printable } from "./printable.ts";

it("keeps lines, tabs and colours, and no other control characters", () => {
  expect(printable("a\n\tb \x1b[32mgreen\x1b[39m")).toBe("a\n\tb \x1b[32mgreen\x1b[39m");
  expect(printable("\x1b[2Jgone\r\x07\x9b31m")).toBe("\ufffd[2Jgone\ufffd\ufffd\ufffd31m");
});
