import { BackypError } from "@zk-backyp/core";
import { describe, expect, it } from "vitest";
import { Turns } from "./turns.ts";

const { signal } = new AbortController();

describe("turns", () => {
  it("are given to so many at once, and to others in their order", async () => {
    const turns = new Turns(2);
    const order: number[] = [];
    let atOnce = 0;
    let most = 0;
    await Promise.all(
      Array.from({ length: 10 }, async (_, number) => {
        const giveBack = await turns.take(signal);
        order.push(number);
        atOnce += 1;
        most = Math.max(most, atOnce);
        await new Promise((resolve) => setImmediate(resolve));
        atOnce -= 1;
        giveBack();
        // Once more changes nothing.
        giveBack();
      }),
    );
    expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(most).toBe(2);
  });

  it("are not waited for any longer by who gives up", async () => {
    const turns = new Turns(1);
    const giveBack = await turns.take(signal);
    const leaving = new AbortController();
    const left = turns.take(leaving.signal);
    const next = turns.take(signal);
    leaving.abort(new BackypError("ERR_ABORTED", "enough"));
    await expect(left).rejects.toMatchObject({ code: "ERR_ABORTED" });
    giveBack();
    (await next)();
    await expect(turns.take(leaving.signal)).rejects.toMatchObject({ code: "ERR_ABORTED" });
    (await turns.take(signal))();
  });
});
