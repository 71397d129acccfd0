import { BackypError } from "@zk-backyp/core";
import { expect, it } from "vitest";
import { errorAnswer, errorBody, HttpError } from "./http-error.ts";

const fastifyError = (code: string, statusCode: number): Error =>
  Object.assign(new Error("said by fastify"), { code, statusCode });

it.each([
  [new HttpError("ERR_TOKEN_WRONG", "no"), 401, "ERR_TOKEN_WRONG"],
  [new HttpError("ERR_HOST_REFUSED", "no"), 421, "ERR_HOST_REFUSED"],
  [new BackypError("ERR_BUSY", "no"), 409, "ERR_BUSY"],
  [new BackypError("ERR_BACKUP_NOT_FOUND", "no"), 404, "ERR_BACKUP_NOT_FOUND"],
  [new BackypError("ERR_MANIFEST_INVALID", "no"), 502, "ERR_MANIFEST_INVALID"],
  [new BackypError("ERR_SINK_DENIED", "no"), 502, "ERR_SINK_DENIED"],
  [fastifyError("FST_ERR_VALIDATION", 400), 400, "ERR_REQUEST_INVALID"],
  [fastifyError("FST_ERR_CTP_BODY_TOO_LARGE", 413), 413, "ERR_REQUEST_TOO_LARGE"],
  [fastifyError("FST_ERR_CTP_INVALID_MEDIA_TYPE", 415), 415, "ERR_MEDIA_TYPE"],
  [fastifyError("FST_ERR_HANDLER_TIMEOUT", 503), 503, "ERR_UNAVAILABLE"],
])("answers %s with %i and %s", (error, status, code) => {
  expect(errorAnswer(error)).toEqual({ status, code, message: error.message, isUnforeseen: false });
});

it.each([
  ["an error of its own", new Error("password=hunter2 in /root/secret")],
  ["one that was given a code afterwards", new BackypError("ERR_INTERNAL", "password=hunter2")],
  ["one that calls itself a client's fault", Object.assign(new Error("hunter2"), { statusCode: 400 })],
  ["an answer of fastify that is none", fastifyError("FST_ERR_REP_INVALID_PAYLOAD_TYPE", 500)],
  ["no error at all", "hunter2"],
  ["nothing", undefined],
])("says nothing of what nobody foresaw: %s", (_what, error) => {
  const answer = errorAnswer(error);
  expect(answer).toMatchObject({ status: 500, code: "ERR_INTERNAL", isUnforeseen: true });
  expect(JSON.stringify(errorBody(answer))).toBe(
    '{"error":{"code":"ERR_INTERNAL","message":"this was not foreseen: the daemon\'s log says more"}}',
  );
});
