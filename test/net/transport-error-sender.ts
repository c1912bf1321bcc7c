/**
 * A program that path-mtu.test.ts runs in a network namespace: sends the datagrams of a plan one
 * after the other, and prints the results and the transport errors as one line of JSON.
 *
 *     bun transport-error-sender.ts '{"bind": {"pathMtuDiscovery": "on"}, "datagrams": [...]}'
 */

import {
  isMessageSizeError,
  SocketAddress,
  type TransportError,
  type UdpBindOptions,
  UdpSocket,
} from "../../lib/index.ts";

/** A datagram to send. */
export interface PlannedDatagram {
  /** The IP address of the destination. */
  readonly to: string;
  readonly port: number;
  /** The payload length. */
  readonly bytes: number;
  /** Whether to wait for a transport error after sending it. Default false. */
  readonly expectsError?: boolean;
}

/** The socket to open, and the datagrams to send. */
export interface SendPlan {
  readonly bind: UdpBindOptions;
  readonly datagrams: readonly PlannedDatagram[];
}

/** A transport error as JSON, with addresses as text. */
export interface ReportedError extends Omit<TransportError, "offender" | "destination"> {
  readonly offender: string;
  readonly destination: string;
}

/** The results of a plan. */
export interface SendReport {
  readonly mayFragment: boolean;
  /** For each datagram, "sent", "too long" or the error as text. */
  readonly results: string[];
  /** The errors that were passed to `onTransportError`. */
  readonly errors: ReportedError[];
}

async function main({ bind, datagrams }: SendPlan): Promise<void> {
  await using socket = await UdpSocket.bind({ backend: "native", ...bind });
  const errors: ReportedError[] = [];
  let resolveReported = () => {};
  socket.onTransportError((error) => {
    const { offender, destination } = error;
    errors.push({ ...error, offender: `${offender}`, destination: `${destination}` });
    resolveReported();
  });
  const results: string[] = [];
  for (const { to, port, bytes, expectsError } of datagrams) {
    const reported = new Promise<void>((resolve) => {
      resolveReported = resolve;
    });
    try {
      await socket.sendTo(new Uint8Array(bytes), SocketAddress.ip(to, port));
      results.push("sent");
    } catch (error) {
      results.push(isMessageSizeError(error) ? "too long" : `${error}`);
    }
    if (expectsError) await reported;
  }
  const { mayFragment } = socket;
  console.log(JSON.stringify({ mayFragment, results, errors } satisfies SendReport));
}

await main(JSON.parse(process.argv[2] as string));
