// A SOCKS proxy between the browser and the cluster, which can fail. Addresses do not change.

import { once } from "node:events";
import net from "node:net";

const [VERSION, NO_PASSWORD, CONNECTED, IPV4, NAME] = [5, 0, 0, 1, 3];

// Reads exactly `count` bytes.
async function read(socket, count) {
  for (;;) {
    const bytes = socket.read(count);
    if (bytes) return bytes;
    await once(socket, "readable");
  }
}

// Reads the requested port. All hosts are this machine.
async function requestedPort(near) {
  const [, methods] = await read(near, 2);
  await read(near, methods);
  near.write(Buffer.from([VERSION, NO_PASSWORD]));
  const kind = (await read(near, 4))[3];
  await read(near, kind === IPV4 ? 4 : kind === NAME ? (await read(near, 1))[0] : 16);
  return (await read(near, 2)).readUInt16BE();
}

/**
 * `cut` resets all connections. `freeze` keeps them open and forwards nothing more. New connections work.
 */
export async function network() {
  const sockets = new Set();
  const server = net.createServer(async (near) => {
    const keep = (socket, other) => {
      sockets.add(socket);
      socket.on("error", () => other?.destroy());
      socket.on("close", () => sockets.delete(socket));
    };
    near.on("error", () => {});
    const port = await requestedPort(near).catch(() => 0);
    if (!port) return near.destroy();
    const far = net.connect(port, "127.0.0.1");
    keep(near, far);
    keep(far, near);
    far.once("connect", () => {
      near.write(Buffer.from([VERSION, CONNECTED, 0, IPV4, 0, 0, 0, 0, 0, 0]));
      near.pipe(far).pipe(near);
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    proxy: { server: `socks5://127.0.0.1:${server.address().port}`, bypass: "<-loopback>" },
    cut: () => sockets.forEach((socket) => socket.resetAndDestroy()),
    freeze: () => sockets.forEach((socket) => socket.unpipe().pause()),
    close: () => {
      sockets.forEach((socket) => socket.destroy());
      server.close();
    },
  };
}
