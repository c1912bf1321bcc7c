/**
 * Preloaded into a child process: where Bun.udpSocket adopts a descriptor, it has the handler that
 * `DEAF_HANDLER` names called never, as a Bun would that goes about its loop in another way.
 */

const udpSocket = Bun.udpSocket;
const deaf = process.env.DEAF_HANDLER as string;

Bun.udpSocket = ((options: { fd?: number; socket: Record<string, unknown> }) =>
  udpSocket(
    (options.fd === undefined
      ? options
      : { ...options, socket: { ...options.socket, [deaf]: () => {} } }) as object,
  )) as typeof Bun.udpSocket;
