import { OUTPUT, type TextLine } from "./erb.ts";
import type { JobSpec } from "./job-spec.ts";
import type { JobTemplate } from "./job-templates.ts";
import type { ReleaseDirectory } from "./release-directory.ts";

/** A service that a monit file has monit watch. */
interface MonitService {
  readonly name: string;
  readonly line: number;
  readonly groups: string[];
  readonly programs: { readonly command: string; readonly line: number }[];
  pidfile: string | null;
}

interface MonitFile {
  readonly services: MonitService[];
  readonly problems: { readonly text: string; readonly line: number }[];
}

/** The processes of a job, by name. */
export interface MonitProcess {
  readonly name: string;
  readonly file: string;
  readonly line: number;
}

// What monit 5.2.5 takes (its lexer, l.l): 5.33 takes more.
const SERVICE_TYPES = ["process", "file", "filesystem", "device", "directory", "host", "system", "fifo", "status"];
const WORDS = new Set(
  `is as are for on only with within without program programs and has using use the sum than usage was times but of does
  start stop exec execute if or then failed ssl path pidfile port portnumber unix unixsocket type proto protocol tcp tcpssl
  udp alert noalert mail-format resource restart restarts cycle cycles timeout checksum every host hostheader system
  default http apache-status ftp smtp postfix-policy pop imap clamav dns mysql nntp ntp3 ssh dwp ldap2 ldap3 rdate lmtp
  rsync tns pgsql sip gps radius memcache target maxforward mode active passive manual uid gid request secret loglimit
  closelimit dnslimit keepalivelimit replylimit requestlimit startlimit waitlimit gracefullimit cleanuplimit mem memory swap
  totalmem totalmemory cpu totalcpu children timestamp changed second seconds minute minutes hour hours day days sslv2
  sslv3 tlsv1 sslauto inode inodes space perm permission size match matching not ignore connection unmonitor action icmp
  echo send expect nonexist exist invalid data recovered passed succeeded else url content pid ppid count reminder md5
  sha1 signature fsflag fsflags byte b kilobyte kb megabyte mb gigabyte gb percent loadavg us usr user sy sys wa wait
  greater gt less lt equal eq notequal ne include group depend depends check address set init`.split(/\s+/),
);

/** Checks the monit file of a job, and says which processes it has. */
export function checkMonit(release: ReleaseDirectory, job: JobSpec, templates: readonly JobTemplate[]): MonitProcess[] {
  const template = templates.find(({ destination }) => destination === "monit");
  if (template === undefined) {
    if (release.kind(`${job.folder}/monit`) === null)
      release.report("monit-missing", `${job.folder}/monit`, "is missing");
    return [];
  }
  const { file } = template;
  const { services, problems } = parseMonit(template.erb.lines);
  for (const { text, line } of problems) release.report("monit-syntax", file, text, line);
  const rendered = new Set(job.templates.values());
  const own = `/var/vcap/jobs/${job.name}/`;
  for (const { name, line, groups, programs, pidfile } of services) {
    if (!groups.includes("vcap")) release.report("monit-group", file, `${shown(name)} is not in the group vcap`, line);
    for (const program of programs) {
      const [path = ""] = program.command.split(" ");
      const script = path.startsWith(own) ? path.slice(own.length) : undefined;
      if (
        program.command.startsWith(OUTPUT) ||
        (script !== undefined && (rendered.has(script) || script.includes(OUTPUT)))
      )
        continue;
      if (/^\/var\/vcap\/jobs\/bpm\/bin\/bpm /.test(program.command)) continue;
      release.report("monit-program", file, `this job does not render ${shown(program.command)}`, program.line);
    }
    if (pidfile !== null && !pidfile.startsWith("/var/vcap/sys/run/") && !pidfile.startsWith(OUTPUT)) {
      release.report("monit-pidfile", file, `the pid file ${shown(pidfile)} is elsewhere`, line);
    }
  }
  const found = services.filter(({ name }) => !name.includes(OUTPUT)).map(({ name, line }) => ({ name, file, line }));
  // With conditions around them, two of the same name need not both be there.
  if (template.erb.tags.every(({ output }) => output)) return found;
  return found.filter(({ name }, index) => found.findIndex((other) => other.name === name) === index);
}

/** Reports processes that have the name of another one. */
export function checkProcessNames(release: ReleaseDirectory, processes: readonly MonitProcess[]): void {
  const seen = new Map<string, string>();
  for (const { name, file, line } of processes) {
    const other = seen.get(name);
    if (other !== undefined)
      release.report("monit-duplicate-process", file, `${other} has a process ${name} too`, line);
    else seen.set(name, file);
  }
}

function parseMonit(lines: readonly TextLine[]): MonitFile {
  const services: MonitService[] = [];
  const problems: { text: string; line: number }[] = [];
  // What the next token is: a keyword, or a value of the keyword before.
  let before = "";
  for (const { text, line } of lines) {
    if (before === "depends") before = "";
    for (const [token] of text.matchAll(/"[^"]*"|'[^']*'|#.*|[^\s;,()"'{}]+/g)) {
      if (token.startsWith("#")) break;
      const quoted = /^["']/.test(token);
      const value = quoted ? token.slice(1, -1) : token;
      const word = value.toLowerCase();
      const service = services.at(-1);
      const last = before;
      before = "";
      if (last === "check") {
        if (SERVICE_TYPES.includes(word)) before = "name";
        else problems.push({ text: `monit 5.2.5 has no "check ${shown(value)}"`, line });
      } else if (last === "name") services.push({ name: value, line, groups: [], programs: [], pidfile: null });
      else if (last === "group") service?.groups.push(value);
      else if (last === "pidfile") {
        if (service !== undefined) service.pidfile = value;
      } else if (last === "every") {
        if (!/^[0-9\uE000]/.test(value)) problems.push({ text: `monit 5.2.5 has "every N cycles" only`, line });
      } else if (last === "restart" && (word === "program" || quoted)) {
        problems.push({ text: "monit 5.2.5 has no restart program", line });
      } else if ((last === "start" || last === "stop") && (quoted || value.startsWith("/"))) {
        service?.programs.push({ command: value, line });
      } else if (last === "start" || last === "stop") {
        if (word === "program" || value === "=") before = last;
      } else if (last === "depends") before = "depends";
      else if (last === "value" || quoted || /^[0-9/\uE000<>=!%]|[@:]/.test(value)) continue;
      else if (!WORDS.has(word)) problems.push({ text: `monit 5.2.5 has no word ${shown(value)}`, line });
      else if (["check", "group", "pidfile", "every", "restart", "start", "stop"].includes(word)) before = word;
      else if (word === "uid" || word === "gid") before = "value";
      else if (word === "depends" || word === "depend") before = "depends";
    }
  }
  return { services, problems };
}

function shown(text: string): string {
  return JSON.stringify(text.replaceAll(OUTPUT, "<%= %>").slice(0, 200));
}
