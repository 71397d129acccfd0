// forward-to-socket.ts ADDRESS PORT SOCKET: what connects to the address is connected to the unix socket. Waits until
// the address is there.
import { connect, createServer } from "node:net";

const [host, port, path] = process.argv.slice(2);
if (host === undefined || port === undefined || path === undefined) throw new Error("ADDRESS PORT SOCKET");
const server = createServer((client) => {
  const service = connect(path);
  client.pipe(service).pipe(client);
  client.on("error", () => service.destroy());
  service.on("error", () => client.destroy());
});
const listen = (): unknown => server.listen(Number(port), host);
server.on("error", () => setTimeout(listen, 100));
listen();
