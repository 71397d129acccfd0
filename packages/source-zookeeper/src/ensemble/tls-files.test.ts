import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer as createPlainServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer } from "node:tls";
import { isBackypError } from "@zk-backyp/core";
import { type Certificates, makeCertificates } from "@zk-backyp/testbed";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { askServer } from "../four-letter-word.ts";
import { loadTls, type TlsFiles, tlsFilesSchema } from "./tls-files.ts";

const { signal } = new AbortController();
let folder: string;
let certificates: Certificates;
let own: TlsFiles;
let server: Server | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-tls-"));
  certificates = await makeCertificates(folder);
  const { certFile, keyFile } = certificates.client;
  own = { caFile: certificates.caFile, certFile, keyFile };
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});
afterEach(() => {
  server?.close();
});

async function listen(created: Server): Promise<number> {
  server = created;
  await new Promise<void>((resolve) => created.listen(0, "127.0.0.1", resolve));
  return (created.address() as { port: number }).port;
}

async function overTls(options: { maxVersion?: "TLSv1.2" } = {}): Promise<number> {
  const { server: identity, caFile } = certificates;
  const [cert, key, ca] = await Promise.all(
    [identity.certFile, identity.keyFile, caFile].map((file) => readFile(file)),
  );
  const created = createServer({ cert, key, ca, requestCert: true, rejectUnauthorized: true, ...options } as object);
  created.on("secureConnection", (socket) => {
    socket.on("error", () => {});
    socket.once("data", () => socket.end("Mode: follower\n"));
  });
  created.on("tlsClientError", () => {});
  return listen(created);
}

describe("a question over TLS", () => {
  it.each(["127.0.0.1", "localhost"])("is answered to a client with a certificate, at %s", async (host) => {
    const port = await overTls();
    expect(await askServer({ scheme: "tls", host, port }, "srvr", { tls: own }, signal)).toBe("Mode: follower\n");
  });

  it.each<[string, () => TlsFiles, RegExp]>([
    [
      "nobody knows the CA",
      () => ({ certFile: own.certFile as string, keyFile: own.keyFile as string }),
      /name the CA's file in tls\.caFile/,
    ],
    [
      "the CA is another one",
      () => ({ ...own, caFile: certificates.stranger.certFile }),
      /signed by none of the CAs in .*stranger-cert\.pem.*is that the right tls\.caFile/,
    ],
    [
      "the name is another one",
      () => ({ ...own, serverName: "zk.example" }),
      /for another name .*zk\.example.*tls\.serverName/,
    ],
    [
      "no client certificate is shown",
      () => ({ caFile: certificates.caFile }),
      /wants a client certificate.*set tls\.certFile and tls\.keyFile/,
    ],
    [
      "the client certificate is a stranger's",
      () => ({
        caFile: certificates.caFile,
        certFile: certificates.stranger.certFile,
        keyFile: certificates.stranger.keyFile,
      }),
      /refuses? the client certificate in .*stranger-cert\.pem/,
    ],
  ])("fails when %s, and the error says what to do", async (_, tls, message) => {
    for (const options of [{}, { maxVersion: "TLSv1.2" as const }]) {
      const port = await overTls(options);
      const address = { scheme: "tls" as const, host: "127.0.0.1", port };
      await expect(askServer(address, "srvr", { tls: tls() }, signal)).rejects.toSatisfy(
        (error) => isBackypError(error, "ERR_SOURCE_UNAVAILABLE") && message.test(error.message),
      );
      server?.close();
    }
  });

  it("fails on a port that speaks no TLS", async () => {
    const port = await listen(createPlainServer((socket) => socket.on("error", () => {}).end("this is no TLS\n")));
    const address = { scheme: "tls" as const, host: "127.0.0.1", port };
    await expect(askServer(address, "srvr", { tls: own }, signal)).rejects.toThrow(/does not speak TLS here/);
  });
});

describe("the files for TLS", () => {
  const address = { host: "zk.example", port: 1 };

  it("give the name to check: the one that is named, or the host, but no IP address", async () => {
    expect(await loadTls({}, address)).toEqual({ servername: "zk.example" });
    expect(await loadTls({ serverName: "other" }, address)).toEqual({ servername: "other" });
    expect(await loadTls({}, { host: "10.0.0.1", port: 1 })).toEqual({});
  });

  it.each<[string, () => TlsFiles, RegExp]>([
    [
      "is not there",
      () => ({ ...own, caFile: join(folder, "gone.pem") }),
      /cannot read tls\.caFile .*gone\.pem: there is no such file/,
    ],
    ["is a folder", () => ({ ...own, caFile: folder }), /cannot read tls\.caFile/],
    [
      "holds a key instead of a CA",
      () => ({ caFile: certificates.client.keyFile }),
      /tls\.caFile .* holds no certificate/,
    ],
    [
      "holds a key instead of a certificate",
      () => ({ ...own, certFile: certificates.client.keyFile }),
      /tls\.certFile .* is no PEM file with a certificate/,
    ],
    [
      "holds a certificate instead of a key",
      () => ({ ...own, keyFile: certificates.client.certFile }),
      /tls\.keyFile .* is no PEM file with a key/,
    ],
    [
      "holds another one's key",
      () => ({ ...own, keyFile: certificates.stranger.keyFile }),
      /tls\.keyFile .*stranger-key\.pem is not that of tls\.certFile/,
    ],
  ])("are refused when one %s", async (_, files, message) => {
    await expect(loadTls(files(), address)).rejects.toSatisfy(
      (error) => isBackypError(error, "ERR_CONFIG_INVALID") && message.test(error.message),
    );
  });

  it("are refused when one is no PEM file", async () => {
    const caFile = join(folder, "der.pem");
    await writeFile(caFile, Buffer.from([0x30, 0x82, 0, 0]));
    await expect(loadTls({ caFile }, address)).rejects.toThrow(/tls\.caFile .*der\.pem/);
  });

  it.each<[object, boolean]>([
    [{}, true],
    [{ caFile: "ca.pem", certFile: "c.pem", keyFile: "k.pem", serverName: "zk" }, true],
    [{ certFile: "c.pem" }, false],
    [{ keyFile: "k.pem" }, false],
    [{ caFile: "" }, false],
    [{ caFile: 1 }, false],
    [{ ca: "ca.pem" }, false],
    [{ serverName: "10.0.0.1" }, false],
  ])("%j are an option: %s", (files, isValid) => {
    expect(tlsFilesSchema.safeParse(files).success).toBe(isValid);
  });
});
