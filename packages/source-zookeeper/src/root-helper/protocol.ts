import { BackypError, type ErrorCode, isBackypError } from "@zk-backyp/core";
import { z } from "zod";

/**
 * What is said on the helper's socket: one JSON object on a line, in both directions. A request is answered before the
 * next one is looked at.
 *
 * | request | answer | |
 * | --- | --- | --- |
 * | `{"do":"status"}` | `{"ok":true,"state":"running","pid":7,"keepStopped":null}` | what the supervisor says |
 * | `{"do":"stop","backInMs":60000}` | `{"ok":true}` | the stop was accepted; the node is started when the connection ends |
 * | `{"do":"start"}` | `{"ok":true}` | the start was accepted |
 *
 * An error is `{"ok":false,"code":"ERR_BUSY","message":"..."}`. After something that is no request, the helper says so
 * and closes.
 */
export type Request =
  | { readonly do: "status" }
  | { readonly do: "stop"; readonly backInMs: number }
  | { readonly do: "start" };

/** Longer lines are refused, on both sides. */
const LONGEST_LINE_BYTES = 4096;

const requestSchema: z.ZodType<Request> = z.discriminatedUnion("do", [
  z.strictObject({ do: z.literal("status") }),
  z.strictObject({ do: z.literal("stop"), backInMs: z.int().min(1) }),
  z.strictObject({ do: z.literal("start") }),
]);

type AnswerCode = Extract<ErrorCode, "ERR_BUSY" | "ERR_NODE_CONTROL" | "ERR_STOP_REFUSED">;
const CODES: readonly AnswerCode[] = ["ERR_BUSY", "ERR_NODE_CONTROL", "ERR_STOP_REFUSED"];

const answerSchema: z.ZodType<Answer> = z.discriminatedUnion("ok", [
  z.object({
    ok: z.literal(true),
    state: z.enum(["running", "starting", "stopping", "stopped", "failed"]).optional(),
    pid: z.int().min(1).nullish(),
    keepStopped: z.string().nullish(),
  }),
  z.object({ ok: z.literal(false), code: z.enum(CODES).catch("ERR_NODE_CONTROL"), message: z.string() }),
]) as z.ZodType<Answer>;

export type Answer =
  | {
      readonly ok: true;
      readonly state?: "running" | "starting" | "stopping" | "stopped" | "failed";
      readonly pid?: number | null;
      readonly keepStopped?: string | null;
    }
  | { readonly ok: false; readonly code: AnswerCode; readonly message: string };

/** Null: it is no request. */
export function parseRequest(line: string): Request | null {
  return parse(requestSchema, line);
}

/** Null: it is no answer. */
export function parseAnswer(line: string): Answer | null {
  return parse(answerSchema, line);
}

function parse<Message>(schema: z.ZodType<Message>, line: string): Message | null {
  try {
    return schema.safeParse(JSON.parse(line)).data ?? null;
  } catch {
    return null;
  }
}

export function toLine(message: Request | Answer): string {
  return `${JSON.stringify(message)}\n`;
}

export function toAnswer(error: unknown): Answer {
  const code = CODES.find((known) => isBackypError(error, known)) ?? "ERR_NODE_CONTROL";
  // Short enough for one line, whatever a supervisor had to say.
  return { ok: false, code, message: (error instanceof Error ? error.message : String(error)).slice(0, 1000) };
}

export function toError(answer: Extract<Answer, { ok: false }>): BackypError {
  return new BackypError(answer.code, answer.message);
}

/** Cuts what arrives into lines, holding no more than one. */
export function lineCutter(): (chunk: Uint8Array) => string[] | null {
  let held = Buffer.alloc(0);
  return (chunk) => {
    held = Buffer.concat([held, chunk]);
    const lines: string[] = [];
    for (let end = held.indexOf(10); end !== -1; end = held.indexOf(10)) {
      if (end > LONGEST_LINE_BYTES) return null;
      lines.push(held.toString("utf8", 0, end));
      held = held.subarray(end + 1);
    }
    return held.byteLength > LONGEST_LINE_BYTES ? null : lines;
  };
}
