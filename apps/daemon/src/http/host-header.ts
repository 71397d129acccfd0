import { isIPv4 } from "node:net";

/** Whether what listens on `host` can be reached from this machine only. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));
}

/**
 * Whether a request that came in over loopback may name this host. A web page can have its own name resolved to 127.0.0.1
 * (DNS rebinding), and then read from here as if from itself: but its name stays in the header.
 *
 * @param header `Host`, or undefined where there is none: no browser leaves it out
 * @param configured `http.host`
 */
export function mayNameHost(header: string | undefined, configured: string): boolean {
  if (header === undefined) return true;
  const host = /^(?:\[([0-9a-f:.]+)\]|([^:[\]]+))(?::\d{1,5})?$/i.exec(header);
  const name = (host?.[1] ?? host?.[2] ?? "").toLowerCase();
  return isLoopback(name) || name === configured.toLowerCase();
}
