import { chmodSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openMonit } from "./monit.ts";
import { findService as findInText, monitCommand } from "./monit-command.ts";
import { findService as findInXml, monitHttp } from "./monit-http.ts";
import type { NodeControl } from "./node-control.ts";

// What monit 5.2.5 and 5.33 answered, shortened only by what comes after.
const head = (version: string): string =>
  `<?xml version="1.0" encoding="ISO-8859-1"?><monit id="98cfab381d280aec4df05eaaf0272399" incarnation="1795400858" version="${version}"><server><uptime>1</uptime><poll>2</poll><startdelay>0</startdelay><localhostname>vm</localhostname><controlfile>rc</controlfile><httpd><address>127.0.0.1</address><port>28712</port><ssl>0</ssl></httpd></server><platform><name>Linux</name><release>6.18</release><version>#1 SMP</version><machine>x86_64</machine><cpu>2</cpu><memory>24684084</memory><swap>0</swap></platform><services>`;
const TAIL = `<service name="system_vm"><type>5</type><collected_sec>1795400858</collected_sec><collected_usec>982465</collected_usec><status>0</status><status_hint>0</status_hint><monitor>1</monitor><monitormode>0</monitormode><pendingaction>0</pendingaction><system><load><avg01>0.72</avg01><avg05>0.48</avg05><avg15>0.93</avg15></load></system></service></services><servicegroups></servicegroups></monit>`;
const old = (status: number, monitor: number, pending: number, rest = ""): string =>
  `${head("5.2.5")}<service name="zookeeper"><type>3</type><collected_sec>1795400860</collected_sec><collected_usec>984183</collected_usec><status>${status}</status><status_hint>0</status_hint><monitor>${monitor}</monitor><monitormode>0</monitormode><pendingaction>${pending}</pendingaction>${rest}</service>${TAIL}`;
const recent = (status: number, monitor: number, pending: number, rest = ""): string =>
  `${head("5.33.0")}<service name="zookeeper"><type>3</type><collected_sec>1795400524</collected_sec><collected_usec>402867</collected_usec><status>${status}</status><status_hint>0</status_hint><monitor>${monitor}</monitor><monitormode>0</monitormode><onreboot>0</onreboot><pendingaction>${pending}</pendingaction>${rest}</service>${TAIL}`;
const PID = "<pid>18366</pid><ppid>1</ppid><uid>0</uid><euid>0</euid><gid>0</gid><uptime>0</uptime>";

const text = (lines: string): string => `The Monit daemon 5.2.5 uptime: 0m 

${lines}
System 'system_vm'
  status                            running
  monitoring status                 monitored
  load average                      [0.72] [0.48] [0.93]
  data collected                    Mon Nov 23 02:27:38 2026

`;
const oldText = (status: string, monitoring: string, rest = ""): string =>
  text(`Process 'zookeeper'
  status                            ${status}
  monitoring status                 ${monitoring}
${rest}  data collected                    Mon Nov 23 02:27:38 2026
`);
const recentText = (status: string, monitoring: string, rest = ""): string => `Monit 5.33.0 uptime: 0m

Process 'zookeeper'
  status                       ${status}
  monitoring status            ${monitoring}
  monitoring mode              active
  on reboot                    start
${rest}  data collected               Mon, 23 Nov 2026 02:21:54

`;

const signal = (): AbortSignal => AbortSignal.timeout(15_000);
const backInMs = 600_000;

describe("monit's status", () => {
  const nothing = { monitoring: "not monitored", pending: null, isMissing: false, pid: null };
  const running = { monitoring: "monitored", pending: null, isMissing: false, pid: 18366 };
  const pid = "  pid                          18366\n  parent pid                   1\n";

  it.each([
    ["5.2.5, running", old(0, 1, 0, PID), oldText("running", "monitored", pid), running],
    ["5.33, running", recent(0, 1, 0, PID), recentText("OK", "Monitored", pid), running],
    [
      "5.2.5, missing",
      old(512, 1, 0, "<status_message><![CDATA[process is not running]]></status_message>"),
      oldText("Does not exist", "monitored"),
      { ...running, isMissing: true, pid: null },
    ],
    [
      "5.33, missing",
      recent(512, 1, 0),
      recentText("Does not exist", "Monitored"),
      { ...running, isMissing: true, pid: null },
    ],
    [
      "5.2.5, stop pending",
      old(0, 0, 3),
      oldText("not monitored - stop pending", "not monitored"),
      { ...nothing, pending: "stop" },
    ],
    [
      "5.33, stop pending",
      recent(0, 1, 3, PID),
      recentText("OK - stop pending", "Monitored", pid),
      { ...running, pending: "stop" },
    ],
    [
      "5.2.5, start pending",
      old(0, 0, 6),
      oldText("not monitored - start pending", "not monitored"),
      { ...nothing, pending: "start" },
    ],
    [
      "5.33, start pending",
      recent(0, 1, 6, PID),
      recentText("OK - start pending", "Monitored", pid),
      { ...running, pending: "start" },
    ],
    ["5.2.5, stopped", old(0, 0, 0), oldText("not monitored", "not monitored"), nothing],
    ["5.33, stopped", recent(0, 0, 0), recentText("Not monitored", "Not monitored"), nothing],
    [
      "5.2.5, initializing",
      old(0, 2, 0),
      oldText("initializing", "initializing"),
      { ...nothing, monitoring: "initializing" },
    ],
    [
      "5.33, initializing",
      recent(0, 2, 0),
      recentText("Initializing", "Initializing"),
      { ...nothing, monitoring: "initializing" },
    ],
  ])("is read alike from XML and from text: %s", (_, xml, printed, expected) => {
    expect(findInXml(xml, "zookeeper", "monit")).toEqual(expected);
    expect(findInText(printed, "zookeeper")).toEqual(expected);
  });

  it("names the other processes where there is no such one", () => {
    expect(findInXml(old(0, 1, 0), "zoo", "monit")).toEqual({ others: ["zookeeper"] });
    expect(findInXml(old(0, 1, 0), "system_vm", "monit")).toEqual({ others: ["zookeeper"] });
    expect(findInText(oldText("running", "monitored"), "zoo")).toEqual({ others: ["zookeeper"] });
    expect(findInText(oldText("running", "monitored"), "system_vm")).toEqual({ others: ["zookeeper"] });
    expect(findInXml(`${head("5.33.0")}</services></monit>`, "zookeeper", "monit")).toEqual({ others: [] });
    expect(findInText("", "zookeeper")).toEqual({ others: [] });
  });

  it.each([
    ["nothing", ""],
    ["a web page", "<!DOCTYPE html><html><body>It works</body></html>"],
    ["no XML", "no such page"],
    ["a part", old(0, 1, 0).slice(0, 900)],
    ["no services", "<monit></monit>"],
    [
      "a service without fields",
      `${head("5.33.0")}<service name="zookeeper"><type>3</type></service></services></monit>`,
    ],
    [
      "a service of two states",
      `${head("5.33.0")}<service name="zookeeper"><type>3</type><status>0</status><monitor>0</monitor><monitor>1</monitor><pendingaction>0</pendingaction></service></services></monit>`,
    ],
    ["entities in entities", `<!DOCTYPE monit [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><monit>&b;</monit>`],
  ])("is refused when it is %s", (_, xml) => {
    expect(() => findInXml(xml, "zookeeper", "monit")).toThrow(expect.objectContaining({ code: "ERR_NODE_CONTROL" }));
  });

  it("is refused when the text lacks a line", () => {
    expect(() => findInText("Process 'zookeeper'\n  pid    1\n", "zookeeper")).toThrow(
      expect.objectContaining({ code: "ERR_NODE_CONTROL" }),
    );
  });
});

describe("a monit that takes no action while another is pending, over HTTP", () => {
  let server: Server;
  let url: string;
  let posts: { readonly body: string; readonly cookie: string }[];
  let answer: (request: IncomingMessage, response: ServerResponse) => void;

  beforeEach(async () => {
    posts = [];
    server = createServer((request, response) => {
      let body = "";
      request.on("data", (chunk: Buffer) => {
        body += chunk.toString();
      });
      request.on("end", () => {
        if (request.method === "POST") posts.push({ body, cookie: request.headers.cookie ?? "" });
        answer(request, response);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });

  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  const control = (): NodeControl => openMonit(monitHttp({ url, service: "zookeeper" }), "zookeeper");
  const send = (response: ServerResponse, code: number, body: string): void => {
    response.writeHead(code, { "content-type": "text/html", connection: "close" }).end(body);
  };
  const BUSY =
    "<html><head><title>503 Service Unavailable</title></head><body bgcolor=#FFFFFF><h2>Service Unavailable</h2>Other action already in progress -- please try again later<p><hr><a href='http://mmonit.com/monit/'><font size=-1>monit 5.2.5</font></a></body></html>";

  it("is asked again to start until the stop is over", async () => {
    answer = (request, response) => {
      if (request.method === "GET") send(response, 200, old(0, 0, posts.length < 3 ? 3 : 6));
      else if (posts.length < 3) send(response, 503, BUSY);
      else send(response, 200, "<html>not monitored - start pending</html>");
    };
    const node = control();
    expect(await node.status({ signal: signal() })).toEqual({ state: "stopping", pid: null });
    await node.start({ signal: signal() });
    expect(posts).toHaveLength(3);
    expect(await node.status({ signal: signal() })).toEqual({ state: "starting", pid: null });
  });

  it("gets with each action the token that newer ones ask for", async () => {
    answer = (request, response) => send(response, 200, request.method === "GET" ? old(0, 0, 0) : "");
    await control().start({ signal: signal() });
    const { body = "", cookie = "" } = posts[0] ?? {};
    const form = new URLSearchParams(body);
    expect(form.get("action")).toBe("start");
    expect(cookie).toBe(`securitytoken=${form.get("securitytoken")}`);
    expect(form.get("securitytoken")).toMatch(/.{16}/);
  });

  it("is not asked any more after an abort", async () => {
    const abort = new AbortController();
    answer = (request, response) => {
      if (request.method === "GET") return send(response, 200, old(0, 0, 3));
      send(response, 503, BUSY);
      abort.abort();
    };
    await expect(control().start({ signal: abort.signal })).rejects.toMatchObject({ code: "ERR_ABORTED" });
    expect(posts).toHaveLength(1);
  });

  it("is not asked to stop what is being stopped", async () => {
    answer = (_, response) => send(response, 200, old(0, 0, 3));
    await control().stop({ signal: signal(), backInMs });
    expect(posts).toEqual([]);
  });

  it("may refuse for another reason, which is told", async () => {
    answer = (request, response) =>
      request.method === "GET"
        ? send(response, 200, old(0, 1, 0, PID))
        : send(response, 403, "<html><body><h2>Forbidden</h2>You do not have sufficient privileges<hr></body></html>");
    await expect(control().stop({ signal: signal(), backInMs })).rejects.toMatchObject({
      code: "ERR_NODE_CONTROL",
      message: expect.stringMatching(/did not stop zookeeper: HTTP 403: You do not have sufficient privileges$/),
    });
  });

  it("is given up when it never answers and the caller aborts", async () => {
    const abort = new AbortController();
    answer = () => abort.abort();
    await expect(control().status({ signal: abort.signal })).rejects.toMatchObject({ code: "ERR_ABORTED" });
  });

  it("is given up in the middle of its answer", async () => {
    const abort = new AbortController();
    answer = (_, response) => {
      response.writeHead(200).write("<monit>");
      setTimeout(() => abort.abort(), 50);
    };
    await expect(control().status({ signal: abort.signal })).rejects.toMatchObject({ code: "ERR_ABORTED" });
  });

  it("is not read without an end", async () => {
    let sent = 0;
    answer = (_, response) => {
      const more = (): void => {
        while (sent < 1e9) {
          sent += 65_536;
          if (!response.write(Buffer.alloc(65_536, " "))) return;
        }
      };
      response.writeHead(200).on("drain", more);
      more();
    };
    await expect(control().status({ signal: signal() })).rejects.toMatchObject({
      code: "ERR_NODE_CONTROL",
      message: expect.stringContaining("more than 8388608 bytes"),
    });
    expect(sent).toBeLessThan(100e6);
  });
});

describe("a monit that takes no action while another is pending, by its command line", () => {
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-monit-"));
  });

  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  /** Answers `status` with the text, and the actions with the shell's commands. */
  async function monit(status: string, actions: string): Promise<NodeControl> {
    const program = join(folder, "monit");
    await writeFile(join(folder, "status"), status);
    await writeFile(
      program,
      `#!/bin/sh\ncd ${folder}\n[ "$1" = status ] && exec cat status\necho "$@" >>asked\n${actions}\n`,
    );
    chmodSync(program, 0o755);
    return openMonit(monitCommand([program], "zookeeper"), "zookeeper");
  }
  const asked = (): Promise<string> => readFile(join(folder, "asked"), "utf8").catch(() => "");
  const BUSY = "echo 'monit: action failed -- Other action already in progress -- please try again later' >&2; exit 1";

  it("is asked again to start until the stop is over", async () => {
    const node = await monit(
      oldText("not monitored - stop pending", "not monitored"),
      `[ "$(wc -l <asked)" -lt 3 ] && { ${BUSY}; }; exit 0`,
    );
    expect(await node.status({ signal: signal() })).toEqual({ state: "stopping", pid: null });
    await node.start({ signal: signal() });
    expect(await asked()).toBe("start zookeeper\n".repeat(3));
  });

  it("is not asked to stop without a daemon, of which it only says that it is not there", async () => {
    const node = await monit("", "exit 0");
    await writeFile(
      join(folder, "monit"),
      `#!/bin/sh\n[ "$1" = status ] || echo "$@" >>${folder}/asked\necho 'monit: no status available -- the monit daemon is not running' >&2\n`,
    );
    await expect(node.stop({ signal: signal(), backInMs })).rejects.toMatchObject({
      code: "ERR_NODE_CONTROL",
      message: expect.stringContaining("its daemon does not run"),
    });
    expect(await asked()).toBe("");
  });

  it("is given up when it hangs and the caller aborts", async () => {
    const node = await monit("", "");
    await writeFile(join(folder, "monit"), "#!/bin/sh\nexec sleep 600\n");
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 100);
    await expect(node.status({ signal: abort.signal })).rejects.toMatchObject({ code: "ERR_ABORTED" });
  });

  it("may refuse for another reason, which is told", async () => {
    const node = await monit(
      oldText("running", "monitored"),
      "echo one >&2; echo 'action failed -- Forbidden' >&2; exit 1",
    );
    await expect(node.stop({ signal: signal(), backInMs })).rejects.toMatchObject({
      code: "ERR_NODE_CONTROL",
      message: expect.stringMatching(/did not stop zookeeper: exit code 1: action failed -- Forbidden$/),
    });
  });
});
