/**
 * What a peer of the network benchmarks does, and the process it does it in: started with a role,
 * it prints where it listens and, for a sink, what it received.
 */

/** What a peer can do. Each listens on 127.0.0.1 and answers the port. */
export interface Peer {
  /** Receives and throws away, calling `received` with the number of datagrams. */
  sink(received: (datagrams: number, calls: number) => void): Promise<number>;
  /** Sends every datagram back to where it came from. */
  echo(): Promise<number>;
}

/** Runs `peer` in the role that the command line asks for: `sink SECONDS` or `echo`. */
export async function runPeer(peer: Peer): Promise<void> {
  const [role, seconds] = process.argv.slice(2);
  if (role === "echo") print({ port: await peer.echo() });
  else if (role === "sink") await measureSink(peer, Number(seconds));
  else throw new Error(`role expected sink or echo, got ${role}`);
}

async function measureSink(peer: Peer, seconds: number): Promise<void> {
  let datagrams = 0;
  let calls = 0;
  let startMs = 0;
  let before = process.cpuUsage();
  const port = await peer.sink((count, callCount) => {
    datagrams += count;
    calls += callCount;
    if (startMs !== 0) return;
    startMs = performance.now();
    before = process.cpuUsage();
    setTimeout(() => {
      const used = process.cpuUsage(before);
      print({
        datagrams,
        calls,
        seconds: (performance.now() - startMs) / 1e3,
        userSeconds: used.user / 1e6,
        systemSeconds: used.system / 1e6,
      });
      process.exit(0);
    }, seconds * 1e3);
  });
  print({ port });
}

function print(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
