/**
 * Random calls with random hostile arguments: prints how many were made. A failure is a crash, a
 * write to transferred memory, an error of another class, or a datagram that is lost or duplicated.
 *
 *     bun test/children/hostile-fuzz.ts SEED RUNS
 */

import fc from "fast-check";
import {
  DgramBuffer,
  RecvBatch,
  RecvMeta,
  recvmmsg,
  SendBatch,
  SocketError,
  sendmmsg,
  UdpSocket,
  WouldBlock,
} from "../../lib/index.ts";
import {
  Boastful,
  impostors,
  realBuffer,
  Watched,
  withAccessor,
  withOwnProperties,
  withTrap,
} from "../tools/hostile.ts";

const [seed = Date.now() | 0, runs = 200] = process.argv.slice(2).map(Number);

const bytes = fc.oneof(fc.constantFrom(0, 1, 8, 100, 1000, 1200), fc.nat(3000));

/** Makes an element. Elements are made once per run, and used by many calls. */
const elements = fc.oneof(
  { weight: 6, arbitrary: bytes.map((n) => () => new Uint8Array(n)) },
  { weight: 4, arbitrary: bytes.map((n) => () => new Uint8Array(new ArrayBuffer(n))) },
  { weight: 2, arbitrary: bytes.map((n) => () => Buffer.alloc(n + 1)) },
  { weight: 2, arbitrary: bytes.map((n) => () => withOwnProperties(new Uint8Array(n))) },
  { weight: 1, arbitrary: bytes.map((n) => () => new Boastful(n)) },
  {
    weight: 3,
    arbitrary: bytes.map((n) => () => new Uint8Array(new ArrayBuffer(n, { maxByteLength: 4000 }))),
  },
  {
    weight: 2,
    arbitrary: bytes.map((n) => () => {
      const memory = new ArrayBuffer(n + 10, { maxByteLength: 4000 });
      return new Uint8Array(memory, 5, n);
    }),
  },
  {
    weight: 2,
    arbitrary: bytes.map(
      (n) => () => new Uint8Array(new SharedArrayBuffer(n, { maxByteLength: 4000 })),
    ),
  },
  { weight: 5, arbitrary: bytes.map((n) => () => DgramBuffer.withCapacityAndHeadroom(n + 16, 16)) },
  { weight: 2, arbitrary: bytes.map((n) => () => DgramBuffer.fromSlice(new Uint8Array(n))) },
  { weight: 1, arbitrary: fc.nat(6).map((i) => () => impostors()[i]) },
  { weight: 1, arbitrary: fc.constantFrom(null, undefined, 3, "text", {}).map((v) => () => v) },
);

const index = fc.nat(40);

/** What runs while an argument is read. */
const action = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant("transfer" as const), index, size: index }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("resize" as const), index, size: fc.nat(4000) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("define" as const), index, size: index }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("buffer" as const), index, size: index }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("gc" as const), index, size: index }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("call" as const), index, size: index }) },
);

const call = fc.record({
  kind: fc.constantFrom(
    "sendMany",
    "sendEach",
    "sendOne",
    "sendBatch",
    "recvMany",
    "recvMeta",
    "recvOne",
    "recvBatch",
    "sendmmsg",
    "recvmmsg",
    "deliver",
  ),
  picks: fc.array(index, { minLength: 1, maxLength: 24 }),
  wrapper: fc.constantFrom("plain", "accessor", "trap"),
  at: index,
  action,
});

type Call = typeof call extends fc.Arbitrary<infer T> ? T : never;
type Action = Call["action"];

let made = 0;

class World {
  readonly sender: UdpSocket;
  readonly receiver: UdpSocket;
  readonly other: UdpSocket;
  readonly pool: unknown[];
  readonly watched: Watched = new Watched();
  #depth = 0;

  constructor(sockets: readonly UdpSocket[], pool: unknown[]) {
    [this.sender, this.receiver, this.other] = sockets as [UdpSocket, UdpSocket, UdpSocket];
    this.pool = pool;
  }

  act({ kind, index: at, size }: Action, next: Call): void {
    const element = this.pool[at % this.pool.length];
    const view = element instanceof DgramBuffer ? element.asSlice() : element;
    if (kind === "gc") Bun.gc(true);
    else if (kind === "call") this.run({ ...next, wrapper: "plain" });
    else if (kind === "buffer" && element instanceof DgramBuffer) this.#change(element, size);
    else if (!(view instanceof Uint8Array)) return;
    else if (kind === "transfer") this.#attempt(() => this.watched.transfer(view));
    else if (kind === "define") this.#attempt(() => withOwnProperties(view));
    else if (kind === "resize") {
      this.#attempt(() => {
        const memory = realBuffer(view) as ArrayBuffer | SharedArrayBuffer;
        if (memory instanceof ArrayBuffer) memory.resize(size);
        else memory.grow(size);
      });
    }
  }

  #change(buffer: DgramBuffer, size: number): void {
    const changes = [
      () => buffer.clear(),
      () => buffer.intoParts(),
      () => buffer.putSlice(new Uint8Array(size * 50)),
      () => buffer.spliceHeadroom(size * 10),
      () => buffer.advance(size),
      () => buffer.truncate(size),
    ];
    this.#attempt(changes[size % changes.length] as () => void);
  }

  /** Runs code that may throw one of the documented errors. */
  #attempt(work: () => unknown): void {
    try {
      work();
    } catch (error) {
      const isExpected =
        error instanceof TypeError || error instanceof RangeError || error instanceof SocketError;
      if (!isExpected) throw error;
    }
  }

  run(one: Call): void {
    if (this.#depth > 2) return;
    this.#depth++;
    made++;
    this.#attempt(() => this.#call(one));
    this.#depth--;
    this.watched.check();
  }

  #call({ kind, picks, wrapper, at, action: what }: Call): void {
    const { sender, receiver, pool } = this;
    const to = receiver.localAddr;
    const act = () => this.act(what, { kind, picks, wrapper, at, action: what });
    const picked = picks.map((i) => pool[i % pool.length]) as Uint8Array[];
    const position = at % picked.length;
    const wrap = <T>(array: T[]): T[] =>
      wrapper === "accessor"
        ? withAccessor(array, position, act)
        : wrapper === "trap"
          ? withTrap(array, position, act)
          : array;
    const first = picked[0] as Uint8Array;
    if (kind === "deliver") sender.trySendTo(new Uint8Array(at * 30), to);
    else if (kind === "sendMany") sender.trySendMany(wrap(picked), { to });
    else if (kind === "sendOne") sender.trySendTo(first, to);
    else if (kind === "sendmmsg") sendmmsg(sender.asRawIo() as number, wrap(picked), to);
    else if (kind === "sendEach") sender.trySendMany(picked, { to: wrap(picked.map(() => to)) });
    else if (kind === "sendBatch") this.#sendBatch(picked, at, act);
    else if (kind === "recvMany") receiver.tryRecvMany(wrap(picked));
    else if (kind === "recvOne") receiver.tryRecv(first);
    else if (kind === "recvBatch") receiver.tryRecvBatch(new RecvBatch({ messages: 2 }));
    else if (kind === "recvMeta") {
      receiver.tryRecvMany(picked, { meta: wrap(picked.map(() => new RecvMeta())) });
    } else if (kind === "recvmmsg") {
      this.other.trySendMany([new Uint8Array(30), new Uint8Array(40)], {
        to: this.other.localAddr,
      });
      recvmmsg(this.other.asRawIo() as number, wrap(picked));
    }
    // A caller that processes what it received empties its buffers.
    for (const buffer of picked as unknown[]) if (buffer instanceof DgramBuffer) buffer.reset(0);
  }

  #sendBatch(picked: Uint8Array[], at: number, act: () => void): void {
    const batch = new SendBatch();
    const to = this.receiver.localAddr;
    try {
      for (const [i, payload] of picked.entries()) {
        if (i === at % picked.length) act();
        if (i % 3 === 0) batch.prefixVarint(at);
        batch.push(payload, to);
      }
    } finally {
      act();
      this.#attempt(() => this.sender.trySendBatch(batch));
    }
  }

  /** Receives what is left, and checks that the receiver got every datagram that was sent, once. */
  async finish(): Promise<void> {
    const buffer = new Uint8Array(70_000);
    await Bun.sleep(0);
    while (this.receiver.tryRecv(buffer) !== WouldBlock);
    this.watched.check();
  }
}

for (const offload of [false, true]) {
  const common = { hostname: "127.0.0.1", backend: "native", receiveBufferBytes: 2 ** 22 } as const;
  using receiver = await UdpSocket.bind({ ...common, offload });
  using sender = await UdpSocket.bind({ ...common, offload });
  using other = await UdpSocket.bind({ ...common, offload: false });
  // What `sendmmsg` sends on the sender's descriptor is not in its counters.
  let sentBeside = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(elements, { minLength: 4, maxLength: 24 }),
      fc.array(call, { minLength: 1, maxLength: 30 }),
      async (makers, calls) => {
        const world = new World(
          [sender, receiver, other],
          makers.map((make) => make()),
        );
        const before = { ...receiver.counters };
        const sent = sender.counters.datagramsSent;
        for (const one of calls) world.run(one);
        await world.finish();
        const received = receiver.counters.datagramsReceived - before.datagramsReceived;
        const usesMmsg = calls.some(({ kind }) => kind === "sendmmsg");
        if (usesMmsg) sentBeside += received;
        else if (received !== sender.counters.datagramsSent - sent) {
          throw new Error(`${sender.counters.datagramsSent - sent} sent, ${received} received`);
        }
      },
    ),
    { seed, numRuns: runs, endOnFailure: true },
  );
  if (sentBeside === 0) throw new Error("no run used sendmmsg");
}
console.log(JSON.stringify({ seed, made }));
process.exit(0);
