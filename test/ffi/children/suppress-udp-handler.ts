/**
 * Preloaded into a child process: suppresses the handler named by `SUPPRESSED_HANDLER` when
 * `Bun.udpSocket` adopts a descriptor. Simulates a Bun whose event loop works differently.
 */

const udpSocket = Bun.udpSocket;
const suppressed = process.env.SUPPRESSED_HANDLER as string;

Bun.udpSocket = ((options: { fd?: number; socket: Record<string, unknown> }) =>
  udpSocket(
    (options.fd === undefined
      ? options
      : { ...options, socket: { ...options.socket, [suppressed]: () => {} } }) as object,
  )) as typeof Bun.udpSocket;
