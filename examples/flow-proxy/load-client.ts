/**
 * One client of the load generator: keeps a window of questions open, and asks new ones in bursts
 * as answers come in. It knows of every question what became of it.
 */

import {
  DgramBuffer,
  isClosedError,
  Pending,
  RecvMeta,
  SocketError,
  type UdpSocket,
} from "../../lib/index.ts";
import { QUESTION_BYTES_MAX, type Questions } from "./question.ts";

/** Questions whose fate is remembered, and between the oldest open one and the latest. */
const REMEMBERED = 4096;
/** Datagrams moved by one call. */
const BATCH = 32;
const RETRY_MS = 10;

/** An answer that takes longer counts as lost, until it comes after all. */
export const ANSWER_TIMEOUT_MS = 1000;

const OPEN = 1;
const ANSWERED = 2;
const LOST = 3;

/** What became of the questions of all clients. */
export interface LoadCounts {
  sent: number;
  bytesSent: number;
  /** Answers that came back unaltered to the right client, each question once. */
  answered: number;
  bytesAnswered: number;
  /** Questions without an answer. */
  lost: number;
  /** Answers (also among `answered`) that came after they were given up. */
  late: number;
  /** Answers to questions that were answered before. */
  duplicated: number;
  /** Answers with other bytes than the question. */
  altered: number;
  /** Answers to another client's question. */
  misdelivered: number;
  /** Errors of the clients' sockets, such as a closed port. */
  socketErrors: number;
}

export interface LoadClientOptions {
  readonly index: number;
  readonly socket: UdpSocket;
  readonly questions: Questions;
  /** Questions without an answer at a time. */
  readonly window: number;
  /** Added to. */
  readonly counts: LoadCounts;
  /** Where answers are put until they are checked: shared, as nothing stays there. */
  readonly inbox: Inbox;
}

/** Room for a batch of answers. */
export class Inbox {
  readonly buffers: Buffer[] = [];
  readonly meta: RecvMeta[] = [];

  constructor() {
    for (let i = 0; i < BATCH; i++) {
      this.buffers.push(Buffer.from(new ArrayBuffer(2 * QUESTION_BYTES_MAX)));
      this.meta.push(new RecvMeta());
    }
  }
}

/** A client with a socket of its own. */
export class LoadClient {
  readonly #options: LoadClientOptions;
  readonly #fates = new Uint8Array(REMEMBERED);
  readonly #sequences = new Uint32Array(REMEMBERED);
  readonly #askedAtMs = new Float64Array(REMEMBERED);
  readonly #outgoing: DgramBuffer[];
  readonly #batch = { start: 0, count: 0 };
  #next = 0;
  /** All questions before it are answered or lost. */
  #oldest = 0;
  #open = 0;
  #isAsking = true;

  constructor(options: LoadClientOptions) {
    this.#options = options;
    this.#outgoing = Array.from({ length: Math.min(BATCH, options.window) }, () =>
      DgramBuffer.withCapacity(QUESTION_BYTES_MAX),
    );
  }

  /** Questions that have no answer yet. */
  get open(): number {
    return this.#open;
  }

  /** Answers in, new questions out, until there is nothing to do; its own waker. */
  readonly run = (): void => {
    const { socket, counts } = this.#options;
    for (let errors = 0; errors < BATCH; ) {
      try {
        const took = this.#take();
        const asked = this.#ask();
        if (took || asked) continue;
        return;
      } catch (error) {
        if (isClosedError(error) || socket.isClosed) return;
        if (!(error instanceof SocketError)) throw error;
        counts.socketErrors++;
        errors++;
      }
    }
    setTimeout(this.run, RETRY_MS);
  };

  /** Asks no more; answers are still taken. */
  stopAsking(): void {
    this.#isAsking = false;
  }

  /** Gives up the questions that were asked before `beforeMs`, so that others can be. */
  giveUp(beforeMs: number): void {
    const { counts } = this.#options;
    for (; this.#oldest < this.#next; this.#oldest++) {
      const slot = this.#oldest % REMEMBERED;
      if (this.#fates[slot] !== OPEN) continue;
      if ((this.#askedAtMs[slot] as number) > beforeMs) return;
      this.#fates[slot] = LOST;
      this.#open--;
      counts.lost++;
    }
  }

  close(): void {
    this.#options.socket.close();
  }

  /** Takes what answers there are: whether there may be more. */
  #take(): boolean {
    const { socket, questions, index, inbox } = this.#options;
    const count = socket.pollRecvMany(this.run, inbox.buffers, inbox);
    if (count === Pending) return false;
    for (let i = 0; i < count; i++) {
      const length = (inbox.meta[i] as RecvMeta).datagramLength;
      const answer = questions.check(inbox.buffers[i] as Buffer, length, index);
      if (typeof answer === "string") this.#options.counts[answer]++;
      else this.#settle(answer, length);
    }
    return true;
  }

  #settle(sequence: number, length: number): void {
    const { counts } = this.#options;
    const slot = sequence % REMEMBERED;
    const fate = this.#sequences[slot] === sequence ? this.#fates[slot] : ANSWERED;
    if (fate !== OPEN && fate !== LOST) {
      counts.duplicated++;
      return;
    }
    if (fate === OPEN) {
      this.#open--;
    } else {
      counts.lost--;
      counts.late++;
    }
    counts.answered++;
    counts.bytesAnswered += length;
    this.#fates[slot] = ANSWERED;
  }

  /** Sends what the window allows: whether it sent anything. */
  #ask(): boolean {
    const { socket, counts } = this.#options;
    const batch = this.#batch;
    if (batch.count === 0) this.#prepare();
    if (batch.count === 0) return false;
    const sent = socket.pollSendMany(this.run, this.#outgoing, batch);
    if (sent === Pending) return false;
    for (let i = batch.start; i < batch.start + sent; i++) {
      counts.bytesSent += (this.#outgoing[i] as DgramBuffer).length;
    }
    counts.sent += sent;
    batch.start += sent;
    batch.count -= sent;
    return true;
  }

  #prepare(): void {
    const { questions, index, window } = this.#options;
    const batch = this.#batch;
    const nowMs = performance.now();
    batch.start = 0;
    while (this.#isAsking && batch.count < this.#outgoing.length && this.#open < window) {
      while (this.#oldest < this.#next && this.#fates[this.#oldest % REMEMBERED] !== OPEN) {
        this.#oldest++;
      }
      if (this.#next - this.#oldest >= REMEMBERED) return;
      const slot = this.#next % REMEMBERED;
      this.#fates[slot] = OPEN;
      this.#sequences[slot] = this.#next;
      this.#askedAtMs[slot] = nowMs;
      const buffer = this.#outgoing[batch.count++] as DgramBuffer;
      buffer.clear();
      questions.write(buffer, index, this.#next++);
      this.#open++;
    }
  }
}
