import { BackypError } from "@zk-backyp/core";
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from "fastify";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import type { HttpConfig } from "../config.ts";
import { withSecrets } from "../secrets.ts";
import { EVERY_KIND, type MadeView, madeView } from "../testing/made-view.ts";
import { createHttpApp, type HttpParts } from "./http-app.ts";

const TOKEN = "correct-horse-battery";
const CONFIG: HttpConfig = { host: "127.0.0.1", port: 0, token: TOKEN };
const BEARER = { authorization: `Bearer ${TOKEN}` };

let view: MadeView;
let app: FastifyInstance;
let log: { level: string; fields: Record<string, unknown>; message: string }[];

const say =
  (level: string) =>
  (fields: object, message: string): void => {
    log.push({ level, fields: fields as Record<string, unknown>, message });
  };

async function start(config: Partial<HttpConfig> = {}, parts: Partial<HttpParts> = {}): Promise<void> {
  await app?.close();
  log = [];
  const made = await createHttpApp(
    view,
    { ...CONFIG, ...config },
    {
      metrics: async () => ({ contentType: "text/plain; version=0.0.4; charset=utf-8", body: "zk_backyp_up 1\n" }),
      page: () => ({ html: "<!doctype html><p>page", headers: { "content-security-policy": "default-src 'self'" } }),
      logger: { debug: say("debug"), info: say("info"), warn: say("warn") },
      ...parts,
    },
  );
  app = made.app;
}

beforeEach(async () => {
  view = madeView([...EVERY_KIND, { name: "many", backups: 2_500 }, { name: "a/b ü%", backups: 1 }]);
  await start();
});

afterEach(() => app.close());

const ask = (url: string, options: InjectOptions = {}): Promise<LightMyRequestResponse> =>
  app.inject({ url, method: "GET", ...options });
const post = (url: string, options: InjectOptions = {}): Promise<LightMyRequestResponse> =>
  app.inject({ url, method: "POST", headers: BEARER, ...options });
const errorOf = (response: LightMyRequestResponse): { code: string; message: string } => {
  expect(response.headers["content-type"]).toBe("application/json; charset=utf-8");
  const body = response.json();
  expect(Object.keys(body)).toEqual(["error"]);
  expect(Object.keys(body.error)).toEqual(["code", "message"]);
  return body.error;
};

describe("what it shows", () => {
  it("is the view's, as it is", async () => {
    const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
    const good = view.series().find(({ name }) => name === "good");
    expect((await ask("/api/v1/status")).json()).toEqual(plain(view.status()));
    expect((await ask("/api/v1/series/good")).json()).toEqual(plain(good?.status()));
    expect((await ask("/api/v1/series/good/runs")).json()).toEqual({ items: plain(good?.runs()) });
    const id = good?.status().lastGood?.id ?? "";
    expect((await ask(`/api/v1/series/good/backups/${id}`)).json()).toEqual(plain(await good?.backup(id)));
    expect((await ask("/api/v1/series/good/backups/latest")).json()).toMatchObject({ id });
  });

  it("finds a series by whatever name it has, escaped", async () => {
    expect((await ask(`/api/v1/series/${encodeURIComponent("a/b ü%")}`)).json()).toMatchObject({ name: "a/b ü%" });
  });

  it("is another one after a reload", async () => {
    view.reload([{ name: "other" }]);
    expect((await ask("/api/v1/series/good")).statusCode).toBe(404);
    expect((await ask("/api/v1/series/other")).statusCode).toBe(200);
  });

  it("is said to be alive and ready, with how each series is", async () => {
    expect((await ask("/healthz")).json()).toEqual({ status: "ok" });
    const ready = await ask("/readyz");
    expect(ready.statusCode).toBe(200);
    expect(ready.json()).toMatchObject({ ready: true, reasons: [] });
    expect(ready.json().series).toContainEqual({ name: "failing", health: "failing" });
  });

  it("is not ready while it stops, or before a series is opened, and alive all the same", async () => {
    view.changeDaemon({ state: "stopping" });
    const stopping = await ask("/readyz");
    expect([stopping.statusCode, stopping.json().reasons]).toEqual([503, ["the daemon is stopping"]]);
    view.reload([]);
    expect((await ask("/readyz")).json().reasons).toEqual(["the daemon is stopping", "no series is opened yet"]);
    expect((await ask("/healthz")).statusCode).toBe(200);
  });

  it("is the page and the metrics of others, with their headers", async () => {
    const page = await ask("/");
    expect([page.statusCode, page.headers["content-type"], page.body]).toEqual([
      200,
      "text/html; charset=utf-8",
      "<!doctype html><p>page",
    ]);
    expect(page.headers["content-security-policy"]).toBe("default-src 'self'");
    const metrics = await ask("/metrics");
    expect([metrics.headers["content-type"], metrics.body]).toEqual([
      "text/plain; version=0.0.4; charset=utf-8",
      "zk_backyp_up 1\n",
    ]);
  });

  it.each(["/", "/healthz", "/metrics", "/api/v1/status", "/nothing", "/api/v1/series/x/run"])(
    "comes with headers that keep browsers from harm: %s",
    async (url) => {
      const { headers } = await ask(url);
      expect(headers).toMatchObject({
        "cache-control": "no-store",
        "content-security-policy": expect.stringContaining("default-src"),
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
      });
      expect(Object.keys(headers).filter((name) => name.startsWith("access-control-"))).toEqual([]);
    },
  );
});

describe("pages of backups", () => {
  const page = async (query: string): Promise<{ items: { id: string }[]; total: number }> =>
    (await ask(`/api/v1/series/many/backups${query}`)).json();

  it("have 100 of them, or as many as are asked for", async () => {
    expect([(await page("")).items.length, (await page("")).total]).toEqual([100, 2_500]);
    expect((await page("?limit=1")).items.length).toBe(1);
    expect((await page("?limit=1000")).items.length).toBe(1_000);
  });

  it("hold every one once, newest first", async () => {
    const ids: string[] = [];
    for (let before = ""; ids.length < 3_000; ) {
      const { items } = await page(`?limit=700${before}`);
      if (items.length === 0) break;
      ids.push(...items.map(({ id }) => id));
      before = `&before=${ids.at(-1)}`;
    }
    expect(ids.length).toBe(2_500);
    expect(ids).toEqual([...new Set(ids)].sort().reverse());
  });

  it("go on where one was deleted meanwhile", async () => {
    const [, second] = (await page("?limit=2")).items;
    const [next] = (await page("?limit=1&before=many-20261121T120000000Z")).items;
    expect([second?.id, next?.id]).toEqual(["many-20261121T000000000Z", "many-20261121T000000000Z"]);
  });

  it.each([
    "?limit=0",
    "?limit=-1",
    "?limit=1001",
    "?limit=1.5",
    "?limit=1e9",
    "?limit=x",
    "?limit=",
    "?limit=1&limit=2",
    "?before=",
    "?before=latest",
    "?before=../../etc/passwd",
    "?before=good-20261122T000000000Z",
    `?before=many-20261122T000000000Z&before=x`,
  ])("are refused for %s", async (query) => {
    const response = await ask(`/api/v1/series/many/backups${query}`);
    expect([response.statusCode, errorOf(response).code]).toEqual([400, "ERR_REQUEST_INVALID"]);
  });
});

describe("what it changes", () => {
  it("needs the token, and begins a run", async () => {
    const response = await post("/api/v1/series/good/run");
    expect(response.statusCode).toBe(202);
    expect(response.json()).toMatchObject({ kind: "backup", trigger: "request" });
    expect(view.series()[0]?.status().current?.runId).toBe(response.json().runId);
    expect(log).toContainEqual(
      expect.objectContaining({
        level: "info",
        fields: expect.objectContaining({ event: "http.run", series: "good", runId: response.json().runId }),
      }),
    );
  });

  it.each([
    ["without a body", {}],
    ["with an empty one", { headers: { ...BEARER, "content-type": "application/json" }, payload: "" }],
    ["with an empty object", { payload: {} }],
    ["with latest", { payload: { id: "latest" } }],
    ["with an id", { payload: { id: "good-20261122T000000000Z" } }],
  ] as [string, InjectOptions][])("begins a verification %s", async (_what, options) => {
    const response = await post("/api/v1/series/good/verify", options);
    expect([response.statusCode, response.json()]).toMatchObject([202, { kind: "verify", trigger: "request" }]);
  });

  it.each([
    ["without a body", {}, { abort: false }, 3_600],
    ["with an empty object", { payload: {} }, { abort: false }, 3_600],
    ["with all there is to say", { payload: { abort: true, seconds: 604_800 } }, { abort: true }, 604_800],
  ] as [string, InjectOptions, object, number][])("holds the daemon %s", async (_what, options, hold, seconds) => {
    const response = await post("/api/v1/hold", options);
    expect([response.statusCode, response.json()]).toMatchObject([202, { state: "holding", hold }]);
    const { since, until } = response.json().hold;
    expect(Date.parse(until) - Date.parse(since)).toBe(seconds * 1000);
    expect((await ask("/api/v1/status")).json()).toMatchObject({ state: "holding", hold });
    expect(log).toContainEqual(
      expect.objectContaining({ fields: expect.objectContaining({ event: "http.hold", seconds, ...hold }) }),
    );
  });

  it("begins nothing while the daemon is held, which is ready all the same, and goes on when it is released", async () => {
    await post("/api/v1/hold");
    for (const url of ["/api/v1/series/good/run", "/api/v1/series/good/verify"]) {
      const response = await post(url);
      expect([response.statusCode, errorOf(response).code]).toEqual([409, "ERR_HELD"]);
    }
    expect((await ask("/readyz")).json()).toMatchObject({ ready: true, reasons: [] });
    for (const _time of ["once", "twice"]) {
      const released = await post("/api/v1/release");
      expect([released.statusCode, released.json()]).toMatchObject([200, { state: "running", hold: null }]);
    }
    expect((await post("/api/v1/series/good/run")).statusCode).toBe(202);
  });

  it.each([
    ['{"seconds":0}', "application/json", 400],
    ['{"seconds":-1}', "application/json", 400],
    ['{"seconds":1.5}', "application/json", 400],
    ['{"seconds":604801}', "application/json", 400],
    ['{"seconds":1e400}', "application/json", 400],
    ['{"seconds":"soon"}', "application/json", 400],
    ['{"abort":"please"}', "application/json", 400],
    ['{"abort":true,"more":1}', "application/json", 400],
    ['{"__proto__":{"abort":true}}', "application/json", 400],
    ["[]", "application/json", 400],
    ["true", "application/json", 400],
    ['{"abort":', "application/json", 400],
    ["abort=true", "application/x-www-form-urlencoded", 415],
    [`{"abort":"${"x".repeat(5_000)}"}`, "application/json", 413],
  ])("is not held by the body %s as %s: %i", async (payload, type, status) => {
    const response = await post("/api/v1/hold", { payload, headers: { ...BEARER, "content-type": type } });
    expect(response.statusCode).toBe(status);
    errorOf(response);
    expect(view.status()).toMatchObject({ state: "running", hold: null });
  });

  it.each(["/api/v1/hold", "/api/v1/release"])("needs the token for %s", async (url) => {
    await post("/api/v1/hold");
    const before = view.status().hold;
    for (const headers of [{}, { authorization: "Bearer wrong-horse" }]) {
      const response = await post(url, { headers, payload: url.endsWith("hold") ? { seconds: 7_200 } : {} });
      expect([response.statusCode, errorOf(response).code]).toEqual([401, "ERR_TOKEN_WRONG"]);
    }
    await start({ token: undefined });
    const response = await post(url);
    expect([response.statusCode, errorOf(response).code]).toEqual([403, "ERR_TOKEN_NOT_CONFIGURED"]);
    expect((await ask(url)).statusCode).toBe(405);
    expect(view.status().hold).toEqual(before);
  });

  it.each([
    ["busy", "/api/v1/series/running/run", 409, "ERR_BUSY"],
    ["unknown", "/api/v1/series/nobody/run", 404, "ERR_SERIES_NOT_FOUND"],
    ["inherited from Object", "/api/v1/series/__proto__/run", 404, "ERR_SERIES_NOT_FOUND"],
    ["busy with a verification", "/api/v1/series/verifying/verify", 409, "ERR_BUSY"],
    ["without a backup", "/api/v1/series/new/verify", 404, "ERR_BACKUP_NOT_FOUND"],
  ])("refuses a series that is %s", async (_what, url, status, code) => {
    const response = await post(url);
    expect([response.statusCode, errorOf(response).code]).toEqual([status, code]);
  });

  it("verifies the backup that is named, also one that cannot be read, so that this is remembered", async () => {
    const verify = (id: string): Promise<LightMyRequestResponse> =>
      post("/api/v1/series/spoilt/verify", { payload: { id } });
    const unreadable = (
      await view
        .series()
        .find(({ name }) => name === "spoilt")
        ?.backups()
    )?.find(({ problem }) => problem !== null);
    expect((await verify(unreadable?.id ?? "")).json()).toMatchObject({ kind: "verify", backupId: unreadable?.id });
    view.endRun("spoilt", { outcome: "failed" });
    const missing = await verify("spoilt-19990101T000000000Z");
    expect([missing.statusCode, errorOf(missing).code]).toEqual([404, "ERR_BACKUP_NOT_FOUND"]);
    expect(
      view
        .series()
        .find(({ name }) => name === "spoilt")
        ?.status().current,
    ).toBeNull();
  });

  it.each([
    ['{"id":', "application/json", 400],
    ['"latest"', "application/json", 400],
    ["[]", "application/json", 400],
    ['{"id":5}', "application/json", 400],
    ['{"id":"../../etc/passwd"}', "application/json", 400],
    ['{"id":["latest"]}', "application/json", 400],
    ['{"id":"latest","more":1}', "application/json", 400],
    ['{"__proto__":{"id":"latest"}}', "application/json", 400],
    ['{"constructor":{"prototype":{"id":"latest"}}}', "application/json", 400],
    [`{"id":"${"x".repeat(5_000)}"}`, "application/json", 413],
    ["id=latest", "application/x-www-form-urlencoded", 415],
    ["latest", "text/plain", 415],
    ["<id/>", "application/xml", 415],
  ])("refuses the body %s as %s with %i", async (payload, type, status) => {
    const response = await post("/api/v1/series/good/verify", {
      payload,
      headers: { ...BEARER, "content-type": type },
    });
    expect(response.statusCode).toBe(status);
    errorOf(response);
    expect(view.series()[0]?.status().current).toBeNull();
  });

  it.each([
    ["no header", {}],
    ["an empty one", { authorization: "" }],
    ["another token", { authorization: "Bearer wrong-horse" }],
    ["another scheme", { authorization: `Basic ${TOKEN}` }],
    ["a cookie", { cookie: `token=${TOKEN}` }],
  ] as [string, Record<string, string>][])("refuses %s, always alike", async (_what, headers) => {
    const response = await post("/api/v1/series/good/run", { headers });
    expect(response.statusCode).toBe(401);
    expect(response.headers["www-authenticate"]).toBe('Bearer realm="zk-backyp"');
    expect(response.body).toBe(
      '{"error":{"code":"ERR_TOKEN_WRONG","message":"this needs the header `Authorization: Bearer TOKEN` with the right token"}}',
    );
    expect(view.series()[0]?.status().current).toBeNull();
  });

  it("tells a stranger neither which series there are, nor what is wrong with a body", async () => {
    const headers = { authorization: "Bearer wrong", "content-type": "text/evil" };
    const [there, not] = await Promise.all(
      ["good", "nobody"].map((name) => post(`/api/v1/series/${name}/run`, { headers, payload: "x".repeat(9_000) })),
    );
    expect(there?.statusCode).toBe(401);
    expect(there?.body).toBe(not?.body);
  });

  it("takes no token from the address", async () => {
    const response = await post(`/api/v1/series/good/run?token=${TOKEN}&access_token=${TOKEN}`, { headers: {} });
    expect(response.statusCode).toBe(401);
    expect(JSON.stringify(log)).not.toContain(TOKEN);
  });

  it("is nothing at all where no token is configured", async () => {
    await start({ token: undefined });
    for (const headers of [{}, BEARER, { authorization: "Bearer undefined" }]) {
      const response = await post("/api/v1/series/good/run", { headers });
      expect([response.statusCode, errorOf(response).code]).toEqual([403, "ERR_TOKEN_NOT_CONFIGURED"]);
    }
  });

  it("stops to look at tokens of an address that has shown ten wrong ones", async () => {
    const remoteAddress = "192.0.2.1";
    for (let attempt = 0; attempt < 10; attempt++) {
      const headers = { authorization: `Bearer wrong-${attempt}` };
      expect((await post("/api/v1/series/good/run", { remoteAddress, headers })).statusCode).toBe(401);
    }
    const response = await post("/api/v1/series/good/run", { remoteAddress });
    expect([response.statusCode, errorOf(response).code]).toEqual([429, "ERR_TOO_MANY_REQUESTS"]);
    expect(Number(response.headers["retry-after"])).toBeGreaterThanOrEqual(1);
    expect(Number(response.headers["retry-after"])).toBeLessThanOrEqual(60);
    expect((await post("/api/v1/series/good/run", { remoteAddress: "192.0.2.2" })).statusCode).toBe(202);
    expect((await ask("/api/v1/status", { remoteAddress })).statusCode).toBe(200);
  });

  it("is limited to 30 requests a minute, also with the right token", async () => {
    const statuses: number[] = [];
    for (let attempt = 0; attempt < 35; attempt++) {
      statuses.push((await post("/api/v1/series/running/run")).statusCode);
    }
    expect(statuses).toEqual([...Array(30).fill(409), ...Array(5).fill(429)]);
  });
});

describe("what it refuses", () => {
  it.each([
    "/nothing",
    "/api",
    "/api/v1",
    "/api/v2/status",
    "//healthz",
    "/healthz/",
    "/HEALTHZ",
    "/favicon.ico",
    "/.env",
    "/api/v1/series",
    "/api/v1/series/good/",
    "/api/v1/series/nobody",
    "/api/v1/series/__proto__",
    "/api/v1/series/constructor",
    "/api/v1/series/good/backups/good-19990101T000000000Z",
    `/api/v1/series/${"x".repeat(500)}`,
  ])("does not know %s", async (url) => {
    const response = await ask(url);
    expect(response.statusCode).toBe(404);
    errorOf(response);
  });

  it.each([
    "/../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/..%2f..%2fetc%2fpasswd",
    "/..%5c..%5cetc%5cpasswd",
    "/%252e%252e%252fetc%252fpasswd",
    "/..;/etc/passwd",
    "/%c0%ae%c0%ae/etc/passwd",
    "/api/v1/series/../../../etc/passwd",
    "/api/v1/series/..%2f..%2f..%2fetc%2fpasswd",
    "/api/v1/series/%2fetc%2fpasswd",
    "/api/v1/series/..%5c..%5cwindows",
    "/api/v1/series/good%00.json",
    "/api/v1/series/%zz",
    "/api/v1/series/%",
    "/api/v1/series/good/backups/..%2f..%2fmanifests%2fx",
    "/api/v1/series/good/backups/%2e%2e",
    "/api/v1/series/good/backups/..%2fgood-20261122T000000000Z",
    "/api/v1/series/good/backups/good-20261122T000000000Z%2f..%2fx",
    "/api/v1/series/good/backups/good-20261122T000000000Z%0a",
    "/api/v1/series/good/backups/good-20261122T000000000Z%00",
    `/api/v1/series/good/backups/${"..%2f".repeat(90)}x`,
  ])("leads nowhere: %s", async (url) => {
    for (const name of ["backup", "backups"] as const) {
      for (const series of view.series()) series[name] = () => expect.unreachable("the view was asked");
    }
    const response = await ask(url);
    expect([400, 404, 414]).toContain(response.statusCode);
    expect(response.body).not.toContain("root:");
    expect(Object.keys(response.json())).toEqual(["error"]);
  });

  it.each([
    ["PUT", "/api/v1/status", "GET, HEAD"],
    ["DELETE", "/api/v1/series/good/backups/latest", "GET, HEAD"],
    ["POST", "/healthz", "GET, HEAD"],
    ["GET", "/api/v1/series/good/run", "POST"],
    ["OPTIONS", "/api/v1/series/good/run", "POST"],
    ["TRACE", "/", "GET, HEAD"],
    ["HEAD", "/api/v1/events", "GET"],
  ] as const)("does not %s %s", async (method, url, allow) => {
    const response = await app.inject({ method, url, headers: BEARER });
    expect([response.statusCode, response.headers.allow]).toEqual([405, allow]);
  });

  it("answers HEAD without a body", async () => {
    const response = await ask("/api/v1/status", { method: "HEAD" });
    expect([response.statusCode, response.body]).toEqual([200, ""]);
  });

  it.each(["/", "/api/v1/status", "/metrics", "/nothing"])(
    "does not answer %s for a name that only a rebinding page would use",
    async (url) => {
      const response = await ask(url, { headers: { host: "evil.example:9642" } });
      expect([response.statusCode, errorOf(response).code]).toEqual([421, "ERR_HOST_REFUSED"]);
    },
  );

  it("answers for any name where it listens beyond loopback", async () => {
    await start({ host: "0.0.0.0" });
    expect((await ask("/healthz", { headers: { host: "backup.example" } })).statusCode).toBe(200);
  });

  it("lets one address ask 6,000 times a minute, and whether it is alive as often as it likes", async () => {
    const remoteAddress = "192.0.2.7";
    for (let count = 0; count < 6_000; count++) {
      const { statusCode } = await ask("/nothing", { remoteAddress });
      if (statusCode !== 404) expect.unreachable(`${statusCode} after ${count}`);
    }
    const response = await ask("/api/v1/status", { remoteAddress });
    expect([response.statusCode, errorOf(response).code]).toEqual([429, "ERR_TOO_MANY_REQUESTS"]);
    expect(Number(response.headers["retry-after"])).toBeGreaterThan(0);
    expect((await ask("/healthz", { remoteAddress })).statusCode).toBe(200);
    expect((await ask("/api/v1/status", { remoteAddress: "192.0.2.8" })).statusCode).toBe(200);
  });
});

describe("when something fails", () => {
  it("says what the store says, with its code", async () => {
    view.failSink("good", new BackypError("ERR_SINK_DENIED", "the store refused to list: give s3:ListBucket"));
    const response = await ask("/api/v1/series/good/backups");
    expect([response.statusCode, errorOf(response)]).toEqual([
      502,
      { code: "ERR_SINK_DENIED", message: "the store refused to list: give s3:ListBucket" },
    ]);
  });

  it("says nothing of what nobody foresaw, and logs it", async () => {
    const error = new TypeError("cannot read /root/.aws/credentials");
    view.failSink("good", error);
    const response = await ask("/api/v1/series/good/backups");
    expect([response.statusCode, errorOf(response).code]).toEqual([500, "ERR_INTERNAL"]);
    expect(response.body).not.toMatch(/root|TypeError|\.ts|at /);
    expect(log.find(({ level }) => level === "warn")?.fields).toMatchObject({ event: "http.failed", err: error });
    await start({}, { metrics: () => Promise.reject(error) });
    expect((await ask("/metrics")).statusCode).toBe(500);
  });

  it("shows no secret, wherever it came from", async () => {
    process.env.HTTP_TEST_SECRET = 'a"secret\\of the store';
    const secret = withSecrets({ env: "HTTP_TEST_SECRET" }, "/", "test") as string;
    view.change("good", { healthText: `the store said: ${secret}` });
    view.failSink("good", new BackypError("ERR_SINK_DENIED", `the store said: ${secret}`));
    await start({}, { metrics: async () => ({ contentType: "text/plain", body: `x{y="${secret}"} 1\n` }) });
    for (const url of ["/api/v1/status", "/api/v1/series/good", "/api/v1/series/good/backups", "/metrics"]) {
      const { body } = await ask(url);
      expect(body).toContain("[secret]");
      expect(body).not.toContain("secret\\");
    }
  });

  it("logs no path, header or body that a stranger has sent", async () => {
    await ask("/planted-path?planted-query=1", { headers: { "user-agent": "planted-agent", referer: "planted" } });
    await post("/api/v1/series/planted-name/run", { headers: { authorization: "Bearer planted-token" } });
    await post("/api/v1/series/good/verify", { payload: { id: "planted-body" } });
    expect(log.filter(({ fields }) => fields.event === "http.request").length).toBe(3);
    expect(log.filter(({ fields }) => fields.event === "http.refused").length).toBe(1);
    expect(JSON.stringify(log)).not.toContain("planted");
    expect(JSON.stringify(log)).not.toContain(TOKEN);
  });
});

describe("its OpenAPI document", () => {
  interface Operation {
    readonly parameters?: { readonly in: string; readonly name: string }[];
    readonly security?: unknown;
    readonly requestBody?: { readonly required: boolean };
    readonly responses: Record<string, { readonly content?: Record<string, { readonly schema: object }> }>;
  }
  interface OpenApi {
    readonly openapi: string;
    readonly paths: Record<string, Record<string, Operation>>;
    readonly components: { readonly schemas: Record<string, object> };
  }
  let document: OpenApi;
  beforeEach(async () => {
    document = (await ask("/api/v1/openapi.json")).json();
  });

  /** The schema with its references put in, in which no object may have a field that is not described. */
  function strict(schema: unknown): unknown {
    if (Array.isArray(schema)) return schema.map(strict);
    if (schema === null || typeof schema !== "object") return schema;
    if ("$ref" in schema) {
      const [, name = ""] = /^#\/components\/schemas\/(\w+)$/.exec(String(schema.$ref)) ?? [];
      expect(document.components.schemas).toHaveProperty(name);
      return strict(document.components.schemas[name]);
    }
    const inner = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, strict(value)]));
    return "properties" in inner ? { ...inner, additionalProperties: false } : inner;
  }

  const operation = (method: string, path: string): Operation => {
    const found = document.paths[path]?.[method];
    if (found === undefined) throw new Error(`${method} ${path} is not documented`);
    return found;
  };

  const schemaOf = (method: string, path: string, status: number): z.ZodType => {
    const content = operation(method, path).responses[status]?.content?.["application/json"];
    const schema =
      content === undefined && path === "/healthz" ? operation(method, path).responses[status] : content?.schema;
    return z.fromJSONSchema(strict(schema) as Parameters<typeof z.fromJSONSchema>[0]);
  };

  it("names every route that there is, and no other", () => {
    expect(document.openapi).toBe("3.1.0");
    const routes = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path}`),
    );
    expect(routes.sort()).toEqual([
      "get /api/v1/events",
      "get /api/v1/series/{name}",
      "get /api/v1/series/{name}/backups",
      "get /api/v1/series/{name}/backups/{id}",
      "get /api/v1/series/{name}/runs",
      "get /api/v1/status",
      "get /healthz",
      "get /metrics",
      "get /readyz",
      "post /api/v1/hold",
      "post /api/v1/release",
      "post /api/v1/series/{name}/run",
      "post /api/v1/series/{name}/verify",
    ]);
    expect(operation("post", "/api/v1/series/{name}/run").security).toEqual([{ token: [] }]);
    for (const path of ["/api/v1/series/{name}/verify", "/api/v1/hold"])
      expect(operation("post", path).requestBody?.required).toBe(false);
    for (const path of ["/api/v1/hold", "/api/v1/release"])
      expect(operation("post", path).security).toEqual([{ token: [] }]);
    expect(JSON.stringify(document)).not.toContain(TOKEN);
  });

  it("refers to nothing that it does not hold", () => {
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]*)"/g)].map(([, reference]) => reference);
    expect(references.length).toBeGreaterThan(20);
    for (const reference of references) {
      expect(document.components.schemas).toHaveProperty(reference?.replace("#/components/schemas/", "") ?? "");
    }
  });

  it("describes every answer, of series in every state", async () => {
    view.startRun("good", { trigger: "request", slot: null, backupId: null, step: "linked" });
    view.endRun("elected", { outcome: "aborted", backupId: null, bytes: null });
    view.changeDaemon({
      config: { ...view.status().config, refused: { at: "2026-11-22T11:00:00.000Z", message: "it is wrong" } },
    });
    const cases: (readonly [method: string, path: string, url: string])[] = [
      ["get", "/healthz", "/healthz"],
      ["get", "/readyz", "/readyz"],
      ["get", "/api/v1/status", "/api/v1/status"],
      ["get", "/api/v1/series/{name}/backups", "/api/v1/series/good/backups?limit=0"],
      ["get", "/api/v1/series/{name}", "/api/v1/series/nobody"],
      ["get", "/api/v1/series/{name}/backups/{id}", "/api/v1/series/good/backups/x"],
      ["get", "/api/v1/series/{name}/backups/{id}", "/api/v1/series/new/backups/latest"],
      ["get", "/api/v1/series/{name}/backups/{id}", "/api/v1/series/good/backups/latest"],
      ["get", "/api/v1/series/{name}/backups/{id}", "/api/v1/series/spoilt/backups/spoilt-20261118T000000000Z"],
      ["get", "/api/v1/series/{name}/backups/{id}", "/api/v1/series/spoilt/backups/spoilt-20261108T000000000Z"],
      ["post", "/api/v1/series/{name}/run", "/api/v1/series/cold/run"],
      ["post", "/api/v1/series/{name}/run", "/api/v1/series/running/run"],
      ["post", "/api/v1/series/{name}/verify", "/api/v1/series/many/verify"],
      ["post", "/api/v1/series/{name}/verify", "/api/v1/series/new/verify"],
      ...view.series().flatMap(({ name }) => {
        const url = `/api/v1/series/${encodeURIComponent(name)}`;
        return [
          ["get", "/api/v1/series/{name}", url],
          ["get", "/api/v1/series/{name}/backups", `${url}/backups`],
          ["get", "/api/v1/series/{name}/runs", `${url}/runs`],
        ] as const;
      }),
      ["post", "/api/v1/hold", "/api/v1/hold"],
      ["get", "/api/v1/status", "/api/v1/status"],
      ["post", "/api/v1/series/{name}/run", "/api/v1/series/good/run"],
      ["post", "/api/v1/release", "/api/v1/release"],
    ];
    const statuses = new Set<number>();
    for (const [method, path, url] of cases) {
      const response = await app.inject({ method: method as "GET", url, headers: BEARER });
      const found = schemaOf(method, path, response.statusCode).safeParse(response.json());
      expect(found.error, `${method} ${url} answered ${response.statusCode}`).toBeUndefined();
      statuses.add(response.statusCode);
    }
    expect([...statuses].sort()).toEqual([200, 202, 400, 404, 409, 502]);
    view.changeDaemon({ state: "stopping" });
    expect(schemaOf("get", "/readyz", 503).parse((await ask("/readyz")).json())).toMatchObject({ ready: false });
  });

  it("would show an answer that is another one", async () => {
    const schema = schemaOf("get", "/api/v1/series/{name}", 200);
    const status = (await ask("/api/v1/series/good")).json();
    expect(schema.safeParse(status).success).toBe(true);
    for (const wrong of [{ health: "well" }, { undocumented: 1 }, { staleAt: "soon" }, { lastRun: {} }]) {
      expect(schema.safeParse({ ...status, ...wrong }).success).toBe(false);
    }
    const { sink: _, ...without } = status;
    expect(schema.safeParse(without).success).toBe(false);
  });
});
