import { isBackypError, prefixOfBackupId } from "@zk-backyp/core";
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchema } from "fastify";
import type { DaemonView, SeriesView } from "../daemon/daemon-view.ts";
import type { AnswerName, Readiness } from "./api-schemas.ts";
import type { EventStreams } from "./event-stream.ts";
import { HttpError } from "./http-error.ts";

const DEFAULT_PAGE_SIZE = 100;
const MAX_PAGE_SIZE = 1_000;
const MAX_RUNS = 200;
/** A hold that nobody ends is over after an hour; none lasts for longer than a week. */
const DEFAULT_HOLD_SECONDS = 3_600;
const MAX_HOLD_SECONDS = 604_800;

const ID = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}-[0-9]{8}T[0-9]{9}Z$";
const idOrLatest = {
  type: "string",
  pattern: `^latest$|${ID}`,
  description: "Id of a backup, or latest",
} as const;
const name = { type: "string", minLength: 1, description: "Name of the series in the configuration" } as const;
const seriesParams = { type: "object", required: ["name"], properties: { name } } as const;
const backupParams = { type: "object", required: ["name", "id"], properties: { name, id: idOrLatest } } as const;
const pageQuery = {
  type: "object",
  properties: {
    limit: { type: "integer", minimum: 1, maximum: MAX_PAGE_SIZE, default: DEFAULT_PAGE_SIZE },
    before: { type: "string", pattern: ID, description: "Only backups that are older than this one" },
  },
} as const;
const verifyBody = {
  type: ["object", "null"],
  additionalProperties: false,
  properties: { id: { ...idOrLatest, default: "latest" } },
} as const;

const holdBody = {
  type: ["object", "null"],
  additionalProperties: false,
  properties: {
    abort: { type: "boolean", default: false, description: "Whether what is under way is aborted" },
    seconds: {
      type: "integer",
      minimum: 1,
      maximum: MAX_HOLD_SECONDS,
      default: DEFAULT_HOLD_SECONDS,
      description: "After how long the daemon goes on by itself",
    },
  },
} as const;

interface InSeries {
  Params: { readonly name: string };
}

/** What the routes need beside the view. */
export interface ApiParts {
  readonly streams: EventStreams;
  /** Aborted when the server is closed. */
  readonly signal: AbortSignal;
  /** Lets only those pass that may change something. */
  readonly mayChange: (request: FastifyRequest, reply: FastifyReply) => Promise<void>;
  readonly logger: { info(fields: object, message: string): void };
}

/** The state of the daemon for programs, and what it can be asked to do. */
export function addApi(app: FastifyInstance, view: DaemonView, { streams, signal, mayChange, logger }: ApiParts): void {
  const find = (series: string): SeriesView => {
    const found = view.series().find((one) => one.name === series);
    if (found !== undefined) return found;
    throw new HttpError(
      "ERR_SERIES_NOT_FOUND",
      "there is no series of that name here: GET /api/v1/status lists those that there are",
    );
  };

  app.get(
    "/healthz",
    {
      config: { isUnlimited: true },
      schema: {
        tags: ["health"],
        summary: "Whether the process works",
        response: {
          200: {
            description: "It does",
            type: "object",
            required: ["status"],
            properties: { status: { const: "ok" } },
          },
        },
      },
    },
    () => ({ status: "ok" }),
  );

  app.get(
    "/readyz",
    {
      schema: {
        tags: ["health"],
        summary: "Whether the daemon is up and not stopping; a backup that fails does not make it unready",
        response: { 200: answer("Readiness", "It is"), 503: answer("Readiness", "It is not"), ...refusals(429) },
      },
    },
    (_request, reply) => {
      const readiness = readinessOf(view);
      return reply.code(readiness.ready ? 200 : 503).send(readiness);
    },
  );

  app.get(
    "/api/v1/status",
    { schema: reading("The daemon and all of its series", { 200: answer("DaemonStatus", "As it is now") }) },
    () => view.status(),
  );

  app.get<InSeries>(
    "/api/v1/series/:name",
    {
      schema: reading("One series", { 200: answer("SeriesStatus", "As it is now"), ...refusals(404) }, seriesParams),
    },
    ({ params }) => find(params.name).status(),
  );

  app.get<InSeries & { Querystring: { readonly limit: number; readonly before?: string } }>(
    "/api/v1/series/:name/backups",
    {
      config: { isLarge: true },
      schema: {
        ...reading(
          "The backups in the store, newest first, as it was seen some seconds ago at most",
          { 200: answer("Backups", "A page of them"), ...refusals(400, 404, 502, 503) },
          seriesParams,
        ),
        querystring: pageQuery,
      },
    },
    async ({ params, query: { limit, before } }) => {
      const series = find(params.name);
      if (before !== undefined && prefixOfBackupId(before) !== series.status().prefix) {
        throw new HttpError("ERR_REQUEST_INVALID", "`before` is the id of a backup of another series");
      }
      const all = await series.backups({ signal });
      // By its id, so that the next page is found also when the backup was deleted meanwhile.
      const first = before === undefined ? 0 : all.findIndex(({ id }) => id < before);
      return { items: first < 0 ? [] : all.slice(first, first + limit), total: all.length };
    },
  );

  app.get<{ Params: { readonly name: string; readonly id: string } }>(
    "/api/v1/series/:name/backups/:id",
    {
      schema: reading(
        "The manifest of one backup",
        { 200: answer("Manifest", "As it is stored"), ...refusals(400, 404, 502, 503) },
        backupParams,
      ),
    },
    ({ params }) => find(params.name).backup(params.id, { signal }),
  );

  app.get<InSeries>(
    "/api/v1/series/:name/runs",
    {
      schema: reading(
        `The last runs that have ended, newest first: ${MAX_RUNS} at most`,
        { 200: answer("Runs", "All that are remembered"), ...refusals(404) },
        seriesParams,
      ),
    },
    ({ params }) => ({ items: find(params.name).runs().slice(0, MAX_RUNS) }),
  );

  app.post<InSeries>(
    "/api/v1/series/:name/run",
    {
      onRequest: mayChange,
      schema: changing("Begin a backup now, whoever is elected"),
    },
    ({ params, ip }, reply) => {
      const run = find(params.name).runNow();
      const fields = { event: "http.run", series: params.name, runId: run.runId, address: ip };
      logger.info(fields, `a backup of ${params.name} was asked for by HTTP`);
      return reply.code(202).send(run);
    },
  );

  app.post<InSeries & { Body: { readonly id?: string } | null | undefined }>(
    "/api/v1/series/:name/verify",
    {
      onRequest: mayChange,
      schema: { ...changing("Begin to read a backup back and check it"), body: verifyBody },
    },
    async ({ params, body, ip }, reply) => {
      const series = find(params.name);
      const id = body?.id ?? "latest";
      // Whatever else is wrong with it, the run finds and remembers.
      await series.backup(id, { signal }).catch((error: unknown) => {
        if (isBackypError(error, "ERR_BACKUP_NOT_FOUND")) throw error;
      });
      const run = series.verifyNow(id);
      const fields = { event: "http.verify", series: params.name, runId: run.runId, address: ip };
      logger.info(fields, `a verification of ${params.name} was asked for by HTTP`);
      return reply.code(202).send(run);
    },
  );

  app.post<{ Body: { readonly abort?: boolean; readonly seconds?: number } | null | undefined }>(
    "/api/v1/hold",
    {
      onRequest: mayChange,
      schema: {
        tags: ["changes"],
        summary: "Begin nothing for now",
        description:
          "What is under way is aborted, or goes on to its end: `state` is `holding` until then, and `held` from then on. A daemon that is held already is so for longer, never shorter, and may be told to abort.",
        security: [{ token: [] }],
        body: holdBody,
        response: {
          202: answer("DaemonStatus", "It begins nothing any more, or is stopping"),
          ...refusals(400, 401, 403, 413, 415, 429),
        },
      },
    },
    ({ body, ip }, reply) => {
      const { abort = false, seconds = DEFAULT_HOLD_SECONDS } = body ?? {};
      logger.info({ event: "http.hold", abort, seconds, address: ip }, "the daemon was asked by HTTP to begin nothing");
      view.hold({ abort, seconds });
      return reply.code(202).send(view.status());
    },
  );

  app.post(
    "/api/v1/release",
    {
      onRequest: mayChange,
      schema: {
        tags: ["changes"],
        summary: "Go on, whoever has asked for the hold",
        security: [{ token: [] }],
        response: { 200: answer("DaemonStatus", "It is not held"), ...refusals(400, 401, 403, 413, 415, 429) },
      },
    },
    ({ ip }) => {
      logger.info({ event: "http.release", address: ip }, "the daemon was asked by HTTP to go on");
      view.release();
      return view.status();
    },
  );

  app.get(
    "/api/v1/events",
    {
      // It would never end.
      exposeHeadRoute: false,
      schema: {
        tags: ["state"],
        summary: "What happens, as server-sent events",
        description:
          "Event `status`: at once a DaemonStatus, then a SeriesStatus (or a DaemonStatus, when it has changed itself) after each change, at most four times a second. Event `run`: an object with `series`, its name, and `run`, a RunRecord, when a run has ended. A reader that does not keep up is disconnected.",
        response: {
          200: { description: "Does not end", content: { "text/event-stream": { schema: { type: "string" } } } },
          ...refusals(429, 503),
        },
      },
    },
    (_request, reply) => {
      streams.open(reply.raw);
      reply.hijack();
    },
  );
}

function readinessOf(view: DaemonView): Readiness {
  const { state, series } = view.status();
  const opened = new Set(view.series().map((one) => one.name));
  const reasons = series.filter((one) => !opened.has(one.name)).map((one) => `the series ${one.name} is not opened`);
  if (series.length === 0) reasons.push("no series is opened yet");
  if (state === "stopping") reasons.unshift("the daemon is stopping");
  return {
    ready: reasons.length === 0,
    reasons,
    series: series.map((one) => ({ name: one.name, health: one.health })),
  };
}

type Answers = Record<number, object>;

function answer(schema: AnswerName, description: string): object {
  return { description, content: { "application/json": { schema: { $ref: `${schema}#` } } } };
}

const REFUSALS = {
  400: "The request is not valid",
  401: "The token is missing or wrong",
  403: "No token is configured",
  404: "There is no such series or backup",
  409: "A run of this series is under way, or the daemon is held or stopping",
  413: "The body is too large",
  415: "The body is not JSON",
  429: "Too many requests from this address: `Retry-After` says when to try again",
  502: "The store failed, or what it holds cannot be read",
  503: "Too busy, too slow, or stopping: try again later",
} as const;

function refusals(...statuses: readonly (keyof typeof REFUSALS)[]): Answers {
  return Object.fromEntries(statuses.map((status) => [status, answer("Error", REFUSALS[status])]));
}

function reading(summary: string, response: Answers, params?: object): FastifySchema {
  return {
    tags: ["state"],
    summary,
    ...(params === undefined ? {} : { params }),
    response: { ...response, ...refusals(429) },
  };
}

function changing(summary: string): FastifySchema {
  return {
    tags: ["changes"],
    summary,
    security: [{ token: [] }],
    params: seriesParams,
    response: {
      202: answer("CurrentRun", "It has begun"),
      ...refusals(400, 401, 403, 404, 409, 413, 415, 429),
    },
  };
}
