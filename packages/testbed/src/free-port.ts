import { createServer } from "node:net";

// Below the range that the kernel hands to outgoing connections (32768 and up on Linux), so that a server that is
// stopped and started again finds its port free.
const LOWEST = 12_000;
const HIGHEST = 32_000;

/**
 * Ports of 127.0.0.1 that nothing listens on at this moment. Another process may take one before you do: a caller that
 * runs beside others has to be ready to try again with new ones.
 */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  for (let tries = 0; ports.size < count; tries += 1) {
    if (tries > 1000) throw new Error("found no free port on 127.0.0.1");
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST));
    if (!ports.has(port) && (await isFree(port))) ports.add(port);
  }
  return [...ports];
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
