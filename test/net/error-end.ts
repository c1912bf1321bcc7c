/**
 * A sender between namespaces, as a process: sends what its plan says, one after the other, and
 * prints what its calls answered and what it was told (onTransportError) as a line of JSON.
 *
 *     bun error-end.ts '{"bind": {"pathMtuDiscovery": "on"}, "datagrams": [...], "errors": 1}'
 */

import {
  isMessageSizeError,
  SocketAddress,
  type TransportError,
  type UdpBindOptions,
  UdpSocket,
} from "../../lib/index.ts";

/** What it is to do. */
export interface ErrorPlan {
  readonly bind: UdpBindOptions;
  /** Where to, and how many bytes; if it `isTold`, what is said about it is waited for. */
  readonly datagrams: readonly { to: string; port: number; bytes: number; isTold?: boolean }[];
}

/** What it was told: addresses as text. */
export interface ToldError extends Omit<TransportError, "offender" | "destination"> {
  readonly offender: string;
  readonly destination: string;
}

/** What came of it. */
export interface ErrorReport {
  readonly mayFragment: boolean;
  /** For each datagram "sent", "too long" or the error's code. */
  readonly results: string[];
  readonly errors: ToldError[];
}

async function main({ bind, datagrams }: ErrorPlan): Promise<void> {
  await using socket = await UdpSocket.bind({ backend: "native", ...bind });
  const errors: ToldError[] = [];
  let tell = () => {};
  socket.onTransportError((error) => {
    const { offender, destination } = error;
    errors.push({ ...error, offender: `${offender}`, destination: `${destination}` });
    tell();
  });
  const results: string[] = [];
  for (const { to, port, bytes, isTold } of datagrams) {
    const told = new Promise<void>((resolve) => {
      tell = resolve;
    });
    try {
      await socket.sendTo(new Uint8Array(bytes), SocketAddress.ip(to, port));
      results.push("sent");
    } catch (error) {
      results.push(isMessageSizeError(error) ? "too long" : `${error}`);
    }
    if (isTold) await told;
  }
  const { mayFragment } = socket;
  console.log(JSON.stringify({ mayFragment, results, errors } satisfies ErrorReport));
}

await main(JSON.parse(process.argv[2] as string));
