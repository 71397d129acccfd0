// Run by the guard, which outlives the process that stopped the node: asks monit over HTTP to start it.
// Its one argument is JSON; the user and the password are in a file that it names.
import { openMonit } from "./monit.ts";
import { type MonitHttpOptions, monitHttp } from "./monit-http.ts";

/** In milliseconds. The guard tries again. */
const WITHIN_MS = 60_000;

const options: MonitHttpOptions = JSON.parse(process.argv[2] ?? "");
try {
  await openMonit(monitHttp(options), options.service).start({ signal: AbortSignal.timeout(WITHIN_MS) });
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
