import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import swagger from "@fastify/swagger";
import { BackypError, type Logger } from "@zk-backyp/core";
import Fastify, { type FastifyInstance, type FastifyServerOptions } from "fastify";
import type { HttpConfig } from "../config.ts";
import type { DaemonView } from "../daemon/daemon-view.ts";
import { withoutSecrets } from "../secrets.ts";
import { version } from "../version.ts";
import { ANSWER_HEADERS } from "./answer-headers.ts";
import { addApi } from "./api-routes.ts";
import { answerSchemas } from "./api-schemas.ts";
import { createEventStreams, type EventStreams } from "./event-stream.ts";
import { isLoopback, mayNameHost } from "./host-header.ts";
import { type ErrorAnswer, errorAnswer, errorBody, HttpError } from "./http-error.ts";
import { rateLimits } from "./rate-limits.ts";
import { tokenCheck } from "./require-token.ts";
import { unsentAnswers } from "./unsent-answers.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Asked so often, and by so many on behalf of others, that it is not counted. */
    isUnlimited?: boolean;
    /** Its answers may be large. */
    isLarge?: boolean;
  }
}

const MAX_BODY_BYTES = 4 * 1024;
const MAX_PARAM_LENGTH = 512;
/** For a store that is slow: it may have to be listed anew. */
const HANDLER_TIMEOUT_MS = 30_000;
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];

/** What others deliver to the HTTP interface. */
export interface HttpParts {
  readonly metrics: () => Promise<{ readonly contentType: string; readonly body: string }>;
  readonly page: () => { readonly html: string; readonly headers: Readonly<Record<string, string>> };
  readonly logger: Logger;
}

/** The HTTP interface as fastify has it, not listening yet. */
export interface HttpApp {
  readonly app: FastifyInstance;
  readonly streams: EventStreams;
}

/** Puts the interface together: what is common to all answers, and the routes. */
export async function createHttpApp(
  view: DaemonView,
  config: HttpConfig,
  { metrics, page, logger }: HttpParts,
  serverFactory?: FastifyServerOptions["serverFactory"],
): Promise<HttpApp> {
  const closing = new AbortController();
  const streams = createEventStreams(view);
  const app = Fastify({
    ...(serverFactory === undefined ? {} : { serverFactory }),
    bodyLimit: MAX_BODY_BYTES,
    handlerTimeout: HANDLER_TIMEOUT_MS,
    forceCloseConnections: "idle",
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    // What a client sends is refused where it is wrong, and not made fit.
    ajv: { customOptions: { removeAdditional: false, coerceTypes: true } },
    clientErrorHandler: answerBrokenRequest,
    frameworkErrors: (_error, _request, reply) => {
      const { raw } = reply as unknown as { raw: ServerResponse<IncomingMessage> };
      const { status, ...error } = errorAnswer(
        new HttpError("ERR_REQUEST_INVALID", "the path of the request is not valid"),
      );
      raw.writeHead(status, { ...ANSWER_HEADERS, "content-type": "application/json; charset=utf-8" });
      raw.end(JSON.stringify(errorBody(error)));
    },
  }) as unknown as FastifyInstance;

  // As it is: a schema that lags behind the answers must not take fields away from them.
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  const parseJson = app.getDefaultJsonParser("error", "error");
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", { parseAs: "string" }, (request, body, done) => {
    if (body === "") done(null, null);
    else void parseJson(request, body as string, done);
  });

  const limits = await rateLimits(app);
  const unsent = unsentAnswers();
  const checkToken = tokenCheck(config.token);
  const isLocal = isLoopback(config.host);

  app.addHook("onRequest", async (request, reply) => {
    void reply.headers(ANSWER_HEADERS);
    if (request.headers.host === undefined && request.raw.httpVersion === "1.1") {
      throw new HttpError("ERR_REQUEST_INVALID", "the header `Host` is missing");
    }
    if (isLocal && !mayNameHost(request.headers.host, config.host)) {
      throw new HttpError(
        "ERR_HOST_REFUSED",
        "what listens on loopback is asked for localhost or 127.0.0.1: a proxy has to set the header `Host` to one of them",
      );
    }
    const { isUnlimited, isLarge } = request.routeOptions.config;
    if (isUnlimited !== true) await limits.countRequest(request, reply);
    if (isLarge === true) unsent.requireRoom();
    if (request.is404) throw new HttpError("ERR_NOT_FOUND", "there is nothing here: see /api/v1/openapi.json");
  });
  app.addHook("onSend", async (_request, reply, payload) => {
    if (typeof payload !== "string") return payload;
    unsent.add(reply.raw, payload.length);
    return String(reply.getHeader("content-type")).startsWith("text/html") ? payload : withoutSecrets(payload);
  });
  app.addHook("onResponse", async (request, reply) => {
    const { url: route = null } = request.routeOptions;
    // The pattern and not the path: what a stranger writes does not belong into a log.
    const fields = {
      event: "http.request",
      method: request.method,
      route,
      status: reply.statusCode,
      address: request.ip,
    };
    logger.debug({ ...fields, durationMs: Math.round(reply.elapsedTime) }, "answered a request");
  });

  app.setErrorHandler((error, request, reply) => {
    // The client has broken it off: what is answered reaches nobody.
    const found = errorAnswer(
      error === request.raw.errored ? new HttpError("ERR_REQUEST_INVALID", "the request has no end") : error,
    );
    const fields = { method: request.method, route: request.routeOptions.url ?? null, address: request.ip };
    if (found.isUnforeseen) {
      logger.warn({ ...fields, event: "http.failed", err: error }, "a request failed in a way nobody foresaw");
    } else if (found.code === "ERR_TOKEN_WRONG") {
      logger.warn({ ...fields, event: "http.refused" }, "a request without the right token was refused");
      void reply.header("www-authenticate", 'Bearer realm="zk-backyp"');
    }
    return reply.code(found.status).type("application/json; charset=utf-8").send(errorBody(found));
  });
  app.setNotFoundHandler(() => {
    throw new HttpError("ERR_NOT_FOUND", "there is nothing here: see /api/v1/openapi.json");
  });

  for (const schema of answerSchemas()) app.addSchema(schema);
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "zk-backyp daemon",
        description: "State of the backups of Apache ZooKeeper, and what the daemon can be asked to do.",
        version,
      },
      components: { securitySchemes: { token: { type: "http", scheme: "bearer" } } },
    },
    // The one body there is may be left out; the plugin says of every body that it may not.
    transformObject: (document) => {
      if (!("openapiObject" in document)) return document.swaggerObject;
      for (const path of Object.values(document.openapiObject.paths ?? {})) {
        const body = path?.post?.requestBody;
        if (body !== undefined && "content" in body) body.required = false;
      }
      return document.openapiObject;
    },
    refResolver: { buildLocalReference: (json, _baseUri, _fragment, index) => String(json.$id ?? `def-${index}`) },
  });

  const methods = new Map<string, string[]>();
  app.addHook("onRoute", ({ url, method }) => {
    methods.set(url, [...(methods.get(url) ?? []), ...[method].flat()]);
  });
  addApi(app, view, {
    streams,
    signal: closing.signal,
    logger,
    mayChange: (request, reply) => limits.countChange(request, reply, () => checkToken(request.headers.authorization)),
  });
  addDocuments(app, { metrics, page });
  for (const [url, known] of [...methods]) refuseOtherMethods(app, url, known);

  app.addHook("preClose", async () => {
    closing.abort(new BackypError("ERR_ABORTED", "the daemon is stopping"));
    streams.close();
  });
  await app.ready();
  return { app, streams };
}

/** What is no part of the API. */
function addDocuments(app: FastifyInstance, { metrics, page }: Pick<HttpParts, "metrics" | "page">): void {
  app.get("/", { schema: { hide: true } }, (_request, reply) => {
    const { html, headers } = page();
    return reply.headers(headers).type("text/html; charset=utf-8").send(html);
  });
  app.get(
    "/metrics",
    {
      schema: {
        tags: ["state"],
        summary: "Metrics for Prometheus",
        response: { 200: { description: "All of them", content: { "text/plain": { schema: { type: "string" } } } } },
      },
    },
    async (_request, reply) => {
      const { contentType, body } = await metrics();
      return reply.header("content-type", contentType).send(body);
    },
  );
  app.get("/api/v1/openapi.json", { schema: { hide: true } }, () => app.swagger());
}

function refuseOtherMethods(app: FastifyInstance, url: string, known: readonly string[]): void {
  const allow = known.join(", ");
  app.route({
    url,
    method: METHODS.filter((method) => !known.includes(method)),
    schema: { hide: true },
    onRequest: async (_request, reply) => {
      void reply.header("allow", allow);
      throw new HttpError("ERR_METHOD_NOT_ALLOWED", `this can be asked with ${allow} only`);
    },
    handler: () => undefined,
  });
}

const BROKEN: Readonly<
  Record<string, { readonly line: string; readonly error: Pick<ErrorAnswer, "code" | "message"> }>
> = {
  HPE_HEADER_OVERFLOW: {
    line: "431 Request Header Fields Too Large",
    error: { code: "ERR_REQUEST_TOO_LARGE", message: "the path and the headers of the request are too long" },
  },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: {
    line: "413 Payload Too Large",
    error: { code: "ERR_REQUEST_TOO_LARGE", message: "the chunk extensions of the request are too long" },
  },
  ERR_HTTP_REQUEST_TIMEOUT: {
    line: "408 Request Timeout",
    error: { code: "ERR_REQUEST_TIMEOUT", message: "the request was not sent to its end in time" },
  },
};

/** Answers what is no HTTP at all, where anybody can still be answered, and hangs up. */
function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable || socket.bytesWritten > 0) {
    socket.destroy();
    return;
  }
  const { line, error: told } = BROKEN[error.code ?? ""] ?? {
    line: "400 Bad Request",
    error: { code: "ERR_REQUEST_INVALID" as const, message: "this is not a valid HTTP request" },
  };
  const body = JSON.stringify(errorBody(told));
  const headers = Object.entries({
    ...ANSWER_HEADERS,
    "content-type": "application/json; charset=utf-8",
    "content-length": String(Buffer.byteLength(body)),
    connection: "close",
  }).map(([header, value]) => `${header}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${line}\r\n${headers.join("")}\r\n${body}`, () => socket.destroy());
}
