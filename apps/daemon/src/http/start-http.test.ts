import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { get as httpGet, type IncomingMessage } from "node:http";
import { get as httpsGet, type RequestOptions } from "node:https";
import { createServer } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "@zk-backyp/core";
import { type Certificates, makeCertificates } from "@zk-backyp/testbed";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import type { HttpConfig } from "../config.ts";
import { type MadeView, madeView } from "../testing/made-view.ts";
import { type HttpServer, startHttp } from "./start-http.ts";

let folder: string;
let certificates: Certificates;
let view: MadeView;
let server: HttpServer | null = null;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-http-"));
  certificates = await makeCertificates(folder);
});

afterAll(() => rm(folder, { recursive: true }));

afterEach(async () => {
  await server?.close();
  server = null;
});

async function start(config: Partial<HttpConfig> = {}): Promise<HttpServer> {
  view = madeView();
  const parts = {
    metrics: async () => ({ contentType: "text/plain", body: "" }),
    page: () => ({ html: "<p>", headers: {} }),
    logger: silentLogger,
  };
  server = await startHttp(view, { host: "127.0.0.1", port: 0, ...config }, parts);
  return server;
}

/** An answer of which the head has come. */
function get(url: string, options: RequestOptions = {}): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    (url.startsWith("https:") ? httpsGet : httpGet)(url, { agent: false, ...options }, resolve).on("error", reject);
  });
}

const textOf = async (response: IncomingMessage): Promise<string> => {
  let text = "";
  for await (const chunk of response) text += chunk;
  return text;
};

const hasIpv6 = Object.values(networkInterfaces()).some((one) => one?.some(({ address }) => address === "::1"));

it.each([
  ["127.0.0.1", /^http:\/\/127\.0\.0\.1:\d+$/],
  ...(hasIpv6 ? [["::1", /^http:\/\/\[::1\]:\d+$/] as const] : []),
  ["localhost", /^http:\/\/(127\.0\.0\.1|\[::1\]):\d+$/],
] as const)("listens on a free port of %s and says where", async (host, expected) => {
  const { url } = await start({ host });
  expect(url).toMatch(expected);
  expect(await textOf(await get(`${url}/healthz`))).toBe('{"status":"ok"}');
});

it("listens with TLS, and on that port without it to nobody", async () => {
  const { certFile, keyFile } = certificates.server;
  const { url } = await start({ tls: { certFile, keyFile } });
  expect(url).toMatch(/^https:/);
  const ca = await readFile(certificates.caFile);
  expect(await textOf(await get(`${url}/healthz`, { ca }))).toBe('{"status":"ok"}');
  await expect(get(`${url}/healthz`, { ca: await readFile(certificates.stranger.certFile) })).rejects.toThrow();
  await expect(get(`${url.replace("https", "http")}/healthz`)).rejects.toThrow();
});

it("sends events over TLS, and ends them when it is closed", async () => {
  const { certFile, keyFile } = certificates.server;
  const { url, close } = await start({ tls: { certFile, keyFile } });
  const events = await get(`${url}/api/v1/events`, { ca: await readFile(certificates.caFile) });
  expect(events.headers["content-type"]).toBe("text/event-stream; charset=utf-8");
  const [text] = await Promise.all([textOf(events), close()]);
  expect(text).toContain("event: status");
});

const invalid = (message: RegExp): object =>
  expect.objectContaining({ code: "ERR_CONFIG_INVALID", message: expect.stringMatching(message) });

it("says what to do when the port is taken", async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  const { port } = other.address() as { port: number };
  await expect(start({ port })).rejects.toThrow(
    invalid(/^cannot listen on 127\.0\.0\.1, port \d+ \(EADDRINUSE\): .* set http\.port to another port$/),
  );
  expect(view.events.eventNames()).toEqual([]);
  await new Promise((resolve) => other.close(resolve));
  expect((await start({ port })).url).toContain(`:${port}`);
});

it.each([
  ["192.0.2.1", /EADDRNOTAVAIL.*set http\.host/],
  ["no-such-host.invalid", /no-such-host\.invalid.*\((ENOTFOUND|EAI_AGAIN)\).*set http\.host/],
])("says what to do when it cannot listen on %s", async (host, message) => {
  await expect(start({ host })).rejects.toThrow(invalid(message));
});

it("says which file of a TLS identity is wrong, and nothing of what is in it", async () => {
  const { certFile, keyFile } = certificates.server;
  const broken = join(folder, "broken.pem");
  await writeFile(broken, "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n");
  const cases: readonly (readonly [HttpConfig["tls"], RegExp])[] = [
    [{ certFile: join(folder, "none.pem"), keyFile }, /^http\.tls\.certFile: cannot read .*none\.pem \(ENOENT\)/],
    [{ certFile, keyFile: folder }, /^http\.tls\.keyFile: cannot read .* \(EISDIR\)/],
    [{ certFile, keyFile: broken }, /^http\.tls: .*broken\.pem are not a certificate and its key/],
    [{ certFile: keyFile, keyFile }, /are not a certificate and its key/],
    [{ certFile, keyFile: certificates.stranger.keyFile }, /are not a certificate and its key/],
  ];
  for (const [tls, message] of cases) {
    const error = await start({ tls }).then(
      () => expect.unreachable(`${tls?.certFile} with ${tls?.keyFile} was taken`),
      (cause: unknown) => cause,
    );
    expect(error).toEqual(invalid(message));
    expect(String(error)).not.toContain("c2VjcmV0");
  }
});

it("closes once, with nobody left, also while answers are under way", async () => {
  const { url, close } = await start();
  // A store that never answers.
  for (const series of view.series()) series.backups = () => new Promise(() => {});
  const hanging = get(`${url}/api/v1/series/good/backups`).then(textOf, () => "cut off");
  const events = await get(`${url}/api/v1/events`);
  const ended = textOf(events);
  await Promise.all([close(), close()]);
  expect(await ended).toContain("event: status");
  expect(await hanging).toBe("cut off");
  expect(view.events.eventNames()).toEqual([]);
  await expect(get(`${url}/healthz`)).rejects.toThrow("ECONNREFUSED");
});

it("asks the store with a signal that is aborted when it is closed", async () => {
  const { url, close } = await start();
  let asked: AbortSignal | undefined;
  for (const series of view.series()) {
    series.backups = ({ signal } = {}) => {
      asked = signal;
      return new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
    };
  }
  const answer = get(`${url}/api/v1/series/good/backups`).then(
    (response) => response.statusCode,
    () => "cut off",
  );
  while (asked === undefined) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(asked.aborted).toBe(false);
  await close();
  expect(asked.aborted).toBe(true);
  expect([503, "cut off"]).toContain(await answer);
});
