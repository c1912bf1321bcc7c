/**
 * Loads the library after the program has put a forged object in place of the state that copies
 * share, and exchanges a datagram. Prints `works`, or the name of the exception.
 */

import { version } from "../../package.json";

const KEY = Symbol.for(`datagram-socket.${version}`);

/** Returns an object without a prototype, as the genuine state is one. */
const stateWith = (values: object): object => Object.assign(Object.create(null), values);

/** A class that accepts all objects, as no genuine one does. */
function Forged(): void {}
Forged._isGenuine = () => true;

const FORGED: Record<string, PropertyDescriptor | undefined> = {
  none: undefined,
  object: { value: { loadNative: 1, RecvBatch: Forged } },
  null: { value: null },
  getter: {
    get() {
      throw new Error("a getter was called");
    },
  },
  primitive: { value: 1 },
  frozen: { value: Object.freeze(Object.create(null)) },
  values: { value: stateWith({ loadNative: {}, loadNativeThread: {}, knownAddresses: {} }) },
  classes: { value: stateWith({ SocketAddress: Forged, RecvBatch: Forged, SendBatch: Forged }) },
};

const forged = FORGED[process.argv[2] ?? "none"];
if (forged !== undefined) Object.defineProperty(globalThis, KEY, forged);

async function exchange(): Promise<string> {
  const { DgramBuffer, RecvBatch, SendBatch, UdpSocket } = await import("../../lib/index.ts");
  await using socket = await UdpSocket.bind({ hostname: "127.0.0.1", backend: "native" });
  const batch = new SendBatch().push(DgramBuffer.fromSlice(new Uint8Array(8)), socket.localAddr);
  await socket.sendBatch(batch);
  const received = new RecvBatch();
  await socket.recvBatch(received);
  return received.lengthAt(0) === 8 ? "works" : `${received.lengthAt(0)} bytes`;
}

console.log(await exchange().catch((error) => error.name));
