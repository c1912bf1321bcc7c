/**
 * Faults to plant in the sources: each is a plausible mistake that the simulation must find. If a
 * text is no longer in its file, adapt the mutant to the new source.
 */

export interface Mutant {
  /** The mistake. */
  readonly name: string;
  readonly file: string;
  /** The text to replace: its first occurrence. */
  readonly text: string;
  readonly by: string;
}

const PROXY = "examples/flow-proxy";

export const MUTANTS: readonly Mutant[] = [
  {
    name: "the proxy sends the datagrams of a batch in reverse order",
    file: `${PROXY}/forwarder.ts`,
    text: "const i = this.#next++;",
    by: "const i = batch.length - 1 - this.#next++;",
  },
  {
    name: "a datagram of an unknown flow is dropped without being counted",
    file: `${PROXY}/ingress.ts`,
    text: "drops.unknownFlow++;",
    by: "",
  },
  {
    name: "a reply is sent to another client",
    file: `${PROXY}/ingress.ts`,
    text: "const flow = this.#flowsById.get(datagram.flowId);",
    by: "const flow = this.#flowsById.values().next().value;",
  },
  {
    name: "a long datagram loses its last byte",
    file: `${PROXY}/tunnel-datagram.ts`,
    text: "this.payloadLength = length - idLength;",
    by: "this.payloadLength = length - idLength - (length > 1000 ? 1 : 0);",
  },
  {
    name: "the first datagram for a socket that is being opened is lost",
    file: `${PROXY}/upstream-flow.ts`,
    text: "for (const datagram of early) out.push(datagram);",
    by: "for (const datagram of early.slice(1)) out.push(datagram);",
  },
  {
    name: "the socket of a removed flow stays open",
    file: `${PROXY}/upstream-flow.ts`,
    text: "this.#socket?.close();",
    by: "",
  },
  {
    name: "the counters of a removed flow's socket are kept",
    file: `${PROXY}/egress.ts`,
    text: "this.#upstreamSockets.delete(flow.socket);",
    by: "",
  },
  {
    name: "a removed flow can still be found by its ID",
    file: `${PROXY}/egress.ts`,
    text: "flowsBySlot?.delete(slotOf(id));",
    by: "",
  },
  {
    name: "an egress keeps the flows that the ingress has ended",
    file: `${PROXY}/egress.ts`,
    text: "this.#flows.remove(known);",
    by: "",
  },
  {
    name: "replies to a client that is not verified are not limited",
    file: `${PROXY}/reply-allowance.ts`,
    text: "if (this.#datagrams < 1 || this.#bytes < bytes) return false;",
    by: "",
  },
  {
    name: "a client is verified by its first datagram",
    file: `${PROXY}/reply-allowance.ts`,
    text: "this.#isVerified = this.#hasReply;",
    by: "this.#isVerified = true;",
  },
  {
    name: "replies beyond the allowance are dropped without being counted",
    file: `${PROXY}/reply-queue.ts`,
    text: "this.#counters.drops.amplified++;",
    by: "",
  },
  {
    name: "replies to clients that are gone are sent",
    file: `${PROXY}/flow-table.ts`,
    text: "if (nowMs - flow.lastRequestMs >= this.#idleTimeoutMs) return false;",
    by: "",
  },
  {
    name: "replies to clients that are gone are dropped without being counted",
    file: `${PROXY}/ingress.ts`,
    text: "drops.stale++;",
    by: "",
  },
  {
    name: "replies do not follow a client to another address",
    file: `${PROXY}/ingress.ts`,
    text: "    flow.client = client;\n",
    by: "",
  },
  {
    name: "replies do not follow an ingress to another address",
    file: `${PROXY}/egress.ts`,
    text: "    key.ingress = ingress;\n",
    by: "",
  },
  {
    name: "a flow that an ingress has ended is found at another address",
    file: `${PROXY}/egress.ts`,
    text: "    this.#flowsBySecretId.delete(flow.key.id);\n",
    by: "",
  },
  {
    name: "a flow that has expired is found by its connection ID",
    file: `${PROXY}/ingress.ts`,
    text: "        this.#flowsByConnectionId?.forget(flow);\n",
    by: "",
  },
  {
    name: "idle flows do not expire",
    file: `${PROXY}/flow-table.ts`,
    text: "nowMs - oldest.lastUsedMs < this.#expiryMs) return;",
    by: "nowMs > 0) return;",
  },
  {
    name: "the flow table admits one flow too many",
    file: `${PROXY}/flow-table.ts`,
    text: "this.#size < this.#flowsMax",
    by: "this.#size <= this.#flowsMax",
  },
  {
    name: "the proxy is not woken when a full socket has room",
    file: `${PROXY}/batch-io.ts`,
    text: "socket.pollSendBatch(waker, batch)",
    by: "socket.pollSendBatch(null, batch)",
  },
  {
    name: "flows that wait for a batch of the reply queue are not woken",
    file: `${PROXY}/reply-queue.ts`,
    text: "for (const waker of this.#waiting.splice(0)) waker();",
    by: "",
  },
  {
    name: "a reply that is too long is dropped without being counted",
    file: `${PROXY}/reply-queue.ts`,
    text: "this.#counters.drops.oversize++;",
    by: "",
  },
  {
    name: "datagrams for a closed socket are dropped without being counted",
    file: `${PROXY}/batch-io.ts`,
    text: "counters.drops.closed += batch.length;",
    by: "",
  },
  {
    name: "an ICMP error ends the forwarding",
    file: `${PROXY}/batch-io.ts`,
    text: "counters.socketErrors++;",
    by: "return Pending;",
  },
  {
    name: "removing an aborted operation breaks the list, and the program loops forever",
    file: "lib/poll/operation-queue.ts",
    text: "else next.previous = previous;",
    by: "",
  },
  {
    name: "recvMany ignores its signal",
    file: "lib/traits/recv.ts",
    text: "return this._recvQueue.run(poll, options?.signal);",
    by: "return this._recvQueue.run(poll, undefined);",
  },
  {
    name: "only one operation is polled per wake-up",
    file: "lib/poll/operation-queue.ts",
    text: "else if (!this.#poll(head, head === started) && !head.signal?.aborted) break;",
    by: "else { this.#poll(head, false); break; }",
  },
  {
    name: "an aborted sendMany does not report what it has sent",
    file: "lib/poll/operation-queue.ts",
    text: "const result = operation.partial?.();",
    by: "const result = undefined;",
  },
  {
    name: "sendMany sends the first datagrams again after a partial send",
    file: "lib/traits/send.ts",
    text: "done === 0 ? options : remaining(bufs, options, done)",
    by: "options",
  },
  {
    name: "an error of sendMany does not report what was sent before it",
    file: "lib/traits/send.ts",
    text: "if (error instanceof SocketError) error.sent = sent;",
    by: "",
  },
  {
    name: "trySend is sent before the callers that wait",
    file: "lib/traits/send.ts",
    text: "if (this._sendQueue?.isBusy) return WouldBlock;",
    by: "",
  },
  {
    name: "a caller's own poll takes the wake-up of the promises",
    file: "lib/poll/shared-waker.ts",
    text: "this.#queue()?.waker();\n    if (waker !== null) callWaker(waker);",
    by: "if (waker !== null) callWaker(waker);\n    else this.#queue()?.waker();",
  },
  {
    name: "receiving into a batch stops one datagram late after a would-block",
    file: "lib/traits/recv.ts",
    text: "if (result === Pending) return i > 0 ? i : Pending;\n        batch._add(result);",
    by: "if (result === Pending && i > 0) return i;\n        batch._add(result === Pending ? 0 : result);",
  },
];
