import { simulatedClock } from "@zk-backyp/core/testing";
import { afterEach, describe, expect, it, vi } from "vitest";
import { type HookServer, startHookServer } from "../testing/hook-server.ts";
import { madeNotification } from "../testing/made-notification.ts";
import { postWebhook, type WebhookConfig } from "./webhook.ts";

const NOW = new Date("2026-11-22T12:00:00.000Z");
const servers: HookServer[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) await server[Symbol.asyncDispose]();
});

async function start(...args: Parameters<typeof startHookServer>): Promise<HookServer> {
  const server = await startHookServer(...args);
  servers.push(server);
  return server;
}

/** Posts, and lets time pass for as long as somebody waits. */
async function post(
  config: Omit<WebhookConfig, "use">,
  { tryWithinMs = 10_000, signal = new AbortController().signal } = {},
): Promise<{ error: Error | null; waitedMs: number[] }> {
  const clock = simulatedClock(NOW);
  const waitedMs: number[] = [];
  const sleeping = {
    ...clock,
    async sleep(ms: number) {
      waitedMs.push(ms);
      await clock.pass(ms);
    },
  };
  const posted = postWebhook({ use: "webhook", ...config }, madeNotification(), {
    clock: sleeping,
    signal,
    tryWithinMs,
  });
  const error = await posted.then(
    () => null,
    (reason: unknown) => reason as Error,
  );
  return { error, waitedMs };
}

describe("postWebhook", () => {
  it("posts all that is known, as JSON", async () => {
    const server = await start();
    expect(await post({ url: `${server.origin}/hook?a=b` })).toEqual({ error: null, waitedMs: [] });
    const [request] = server.requests;
    expect(request).toMatchObject({ path: "/hook?a=b", headers: { "content-type": "application/json" } });
    expect(JSON.parse(request?.body ?? "")).toEqual(madeNotification());
  });

  it("posts the configured body, with the configured headers", async () => {
    const server = await start();
    await post({
      url: server.origin,
      headers: { Authorization: "Bearer abc" },
      body: { text: "{{series}} {{event}}" },
    });
    expect(server.requests[0]).toMatchObject({
      body: '{"text":"zk-prod failure"}',
      headers: { authorization: "Bearer abc" },
    });
  });

  it("sends user and password of an address as a header", async () => {
    const server = await start();
    await post({ url: server.origin.replace("//", "//me:p%40ss@") });
    expect(server.requests[0]?.headers.authorization).toBe(`Basic ${Buffer.from("me:p@ss").toString("base64")}`);
  });

  it.each([500, 502, 503, 429])("tries three times where the answer is %i", async (status) => {
    const server = await start((response) => response.writeHead(status).end());
    const { error, waitedMs } = await post({ url: server.origin });
    expect(error?.message).toBe(`${server.origin} answered with ${status}`);
    expect(waitedMs).toEqual([2_000, 10_000]);
    expect(server.requests).toHaveLength(3);
  });

  it("is content once it goes through", async () => {
    const server = await start((response, _, count) => response.writeHead(count < 3 ? 500 : 200).end("ok"));
    expect((await post({ url: server.origin })).error).toBeNull();
    expect(server.requests).toHaveLength(3);
  });

  it.each([400, 401, 404, 410])("does not ask again where the answer is %i, and shows why", async (status) => {
    const server = await start((response) => response.writeHead(status).end("invalid_payload\n\u001b[2J"));
    const { error } = await post({ url: server.origin });
    expect(error?.message).toBe(`${server.origin} answered with ${status}: invalid_payload \ufffd[2J`);
    expect(server.requests).toHaveLength(1);
  });

  it.each([
    ["30", 30_000],
    ["86400", 60_000],
    ["Sun, 22 Nov 2026 12:00:20 GMT", 20_000],
    ["Sun, 22 Nov 2020 12:00:20 GMT", 2_000],
    ["soon", 2_000],
    ["-1", 2_000],
    ["9".repeat(400), 60_000],
  ])("waits as long as it is asked to, within reason (Retry-After: %s)", async (retryAfter, waitMs) => {
    const server = await start((response, _, count) =>
      count === 1 ? response.writeHead(429, { "retry-after": retryAfter }).end() : response.writeHead(200).end(),
    );
    expect(await post({ url: server.origin })).toEqual({ error: null, waitedMs: [waitMs] });
  });

  it("tries three times where nobody listens", async () => {
    const server = await startHookServer();
    await server[Symbol.asyncDispose]();
    const { error, waitedMs } = await post({ url: `${server.origin}/a-secret` });
    expect(error?.message).toBe(`${server.origin} could not be asked: ECONNREFUSED`);
    expect(waitedMs).toHaveLength(2);
  });

  it("tries three times where no answer comes", async () => {
    const server = await start(() => {});
    const { error } = await post({ url: server.origin }, { tryWithinMs: 50 });
    expect(error?.message).toBe(`${server.origin} could not be asked: it took too long`);
    expect(server.requests).toHaveLength(3);
  });

  it("does not wait for the rest of an answer that says yes", async () => {
    const server = await start((response) => {
      response.writeHead(200);
      const drip = setInterval(() => response.write("x".repeat(65_536)), 1);
      response.on("close", () => clearInterval(drip));
    });
    expect((await post({ url: server.origin })).error).toBeNull();
  });

  it.each([
    ["that never ends", (write: (text: string) => void) => setInterval(() => write("x".repeat(65_536)), 1)],
    ["that drips", (write: (text: string) => void) => setInterval(() => write("x"), 5)],
  ])("shows nothing of a refusal %s", async (_, begin) => {
    const server = await start((response) => {
      response.writeHead(400);
      const drip = begin((text) => response.write(text));
      response.on("close", () => clearInterval(drip));
    });
    const { error } = await post({ url: server.origin }, { tryWithinMs: 200 });
    expect(error?.message).toBe(`${server.origin} answered with 400`);
  });

  it("shows nothing of a refusal that is long, since what is cut off is not known for a secret", async () => {
    const server = await start((response) => response.writeHead(400).end("no ".repeat(2_000)));
    expect((await post({ url: server.origin })).error?.message).toBe(`${server.origin} answered with 400`);
  });

  it.each([307, 308])("follows a %i on the same host", async (status) => {
    const server = await start((response, { path }) =>
      path === "/new" ? response.writeHead(200).end() : response.writeHead(status, { location: "/new" }).end(),
    );
    expect((await post({ url: `${server.origin}/old` })).error).toBeNull();
    expect(server.requests.map(({ path, body }) => [path, body.length > 0])).toEqual([
      ["/old", true],
      ["/new", true],
    ]);
  });

  it("follows no redirect to another host, and sends it nothing", async () => {
    const other = await start();
    const server = await start((response) => response.writeHead(307, { location: `${other.origin}/a-secret` }).end());
    const { error } = await post({ url: server.origin, headers: { authorization: "Bearer abcdefgh" } });
    expect(error?.message).toMatch(/answered with 307, which leads elsewhere/);
    expect(error?.message).not.toContain("a-secret");
    expect(other.requests).toEqual([]);
    expect(server.requests).toHaveLength(1);
  });

  it.each([
    ["a redirect in a circle", 308, "/again"],
    ["a redirect that would drop the body", 302, "/new"],
    ["a redirect to nowhere", 307, "http://["],
  ])("does not follow %s", async (_, status, location) => {
    const server = await start((response) => response.writeHead(status, { location }).end());
    expect((await post({ url: server.origin })).error?.message).toMatch(/which leads elsewhere/);
    expect(server.requests.length).toBeLessThanOrEqual(4);
  });

  it("shows nothing out of the configuration, though the server repeats it", async () => {
    const server = await start((response, { path, headers, body }) =>
      response.writeHead(403).end(`no: ${path} ${decodeURIComponent(path)} ${headers.authorization} ${body}`),
    );
    const { error } = await post({
      url: `${server.origin}/services/T0SECRETPATH%2Fx/?token=QUERYSECRET&b=1`,
      headers: { authorization: "Bearer HEADERSECRET" },
      body: { routing_key: "BODYSECRET", text: 'key "QUOTED" {{series}}, PARTSECRET' },
    });
    expect(error?.message).toMatch(/answered with 403: no: /);
    expect(error?.message).not.toMatch(/SECRET|QUOTED/);
  });

  it.each([
    ["an address that is none", { url: "no-secret-url" }],
    ["an address that is not of the web", { url: "ftp://host/a-secret" }],
    ["a header that is none", { url: "http://127.0.0.1:1/", headers: { authorization: "a-secret\n" + "x: y" } }],
    ["a port that is none", { url: "http://127.0.0.1:99999/a-secret" }],
  ])("refuses %s, and does not repeat it", async (_, config) => {
    const { error, waitedMs } = await post(config);
    expect(error?.message).toMatch(/could not be asked/);
    expect(`${error?.stack}${JSON.stringify(error)}`).not.toContain("secret");
    expect(waitedMs).toEqual([]);
  });

  it("ends at once when the daemon does", async () => {
    const server = await start(() => {});
    const ending = new AbortController();
    const posted = post({ url: server.origin }, { signal: ending.signal });
    await vi.waitFor(() => expect(server.requests).toHaveLength(1));
    ending.abort();
    expect((await posted).error).not.toBeNull();
    expect(server.requests).toHaveLength(1);
  });
});
