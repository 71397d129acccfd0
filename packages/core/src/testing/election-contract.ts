import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import type { Candidacy } from "../candidacy.ts";
import { isBackypError } from "../errors.ts";
import { type RunContext, silentLogger } from "../run-context.ts";
import type { Source } from "../source.ts";
import type { ContractCase } from "./contract-case.ts";

/** How long an election may take where nothing is wrong. */
const LIMIT_MS = 30_000;

/**
 * What every source must do that has elections. Run each case in the test runner of your choice.
 *
 * @param createSource a source with whom nothing is wrong; called once for each case, which closes it
 */
export function electionContract(createSource: () => Promise<Source>): ContractCase[] {
  const contractCase = (name: string, check: (stand: Stand, source: Source) => Promise<void>): ContractCase => ({
    name,
    async run() {
      const source = await createSource();
      const stand: Stand = async (label, signal = new AbortController().signal) => {
        const context: RunContext = { signal, logger: silentLogger };
        const candidacy = await source.elect?.(name, { label }, context);
        assert.ok(candidacy !== undefined, "has no elections");
        return candidacy;
      };
      try {
        await check(stand, source);
      } finally {
        await source.close();
      }
    },
  });

  return [
    contractCase("elects one of two, tells both who it is, and hands over when that one leaves", async (stand) => {
      const [winner, loser] = await settled(await Promise.all([stand("a"), stand("b")]));
      assert.equal(loser.state, "waiting");
      assert.deepEqual(loser.holder, winner.holder);
      await winner.confirm(new AbortController().signal);
      await assert.rejects(loser.confirm(new AbortController().signal), isNotElected);
      await winner.close();
      await until("the other one is elected", () => loser.state === "elected");
      await loser.confirm(new AbortController().signal);
      await assert.rejects(winner.confirm(new AbortController().signal), isNotElected);
    }),

    contractCase("hands over to one that waits when the elected one steps back, and to nobody else", async (stand) => {
      const alone = await stand("a");
      await until("it is elected", () => alone.state === "elected");
      await alone.stepBack();
      await until("it is elected again", () => alone.state === "elected");
      const other = await stand("b");
      await settled([alone, other]);
      // That somebody waits may take a moment to be known.
      await until("the other one is elected", () => {
        if (alone.state === "elected") void alone.stepBack();
        return other.state === "elected";
      });
      await other.confirm(new AbortController().signal);
    }),

    contractCase("tells of a change", async (stand) => {
      const candidacy = await stand("a");
      let changes = 0;
      candidacy.onChange(() => {
        changes += 1;
      });
      await until("it is elected", () => candidacy.state === "elected");
      const before = changes;
      await candidacy.close();
      assert.notEqual(candidacy.state, "elected");
      await until("its listener is called", () => changes > before);
    }),

    contractCase("leaves when it is aborted, or its source is closed", async (stand, source) => {
      const abort = new AbortController();
      const first = await stand("a", abort.signal);
      await until("it is elected", () => first.state === "elected");
      const second = await stand("b");
      abort.abort();
      await until("the other one is elected", () => second.state === "elected");
      assert.notEqual(first.state, "elected");
      await source.close();
      assert.notEqual(second.state, "elected");
    }),

    contractCase("gives up with ERR_ABORTED when it is aborted", async (stand) => {
      const isAborted = (error: unknown): boolean => isBackypError(error, "ERR_ABORTED");
      await assert.rejects(stand("a", AbortSignal.abort()), isAborted);
      const candidacy = await stand("a");
      await until("it is elected", () => candidacy.state === "elected");
      await assert.rejects(candidacy.confirm(AbortSignal.abort()), isAborted);
    }),
  ];
}

type Stand = (label: string, signal?: AbortSignal) => Promise<Candidacy>;

/** The elected one and the other. */
async function settled([first, second]: readonly Candidacy[]): Promise<[Candidacy, Candidacy]> {
  assert.ok(first !== undefined && second !== undefined);
  const isSettled = (): boolean => {
    const states = [first.state, second.state].sort();
    assert.notDeepEqual(states, ["elected", "elected"], "two are elected at once");
    return states.join() === "elected,waiting" && second.holder !== null && first.holder !== null;
  };
  await until("one is elected, and the other one waits", isSettled);
  return first.state === "elected" ? [first, second] : [second, first];
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  const end = Date.now() + LIMIT_MS;
  while (!isSo()) {
    assert.ok(Date.now() < end, `not within ${LIMIT_MS / 1000} s: ${what}`);
    await sleep(20);
  }
}

function isNotElected(error: unknown): boolean {
  return isBackypError(error, "ERR_NOT_ELECTED");
}
