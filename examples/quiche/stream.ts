/** A stream of a connection. */

import type { NativeConnection } from "./quiche.ts";

/** `quiche::Shutdown` */
const SHUTDOWN = { read: 0, write: 1 } as const;

/** The side of the connection. */
export interface StreamOwner {
  readonly native: NativeConnection;
  /** Called when packets may have to be sent. */
  wake(): void;
  /** The streams that wait until quiche accepts more of their bytes. */
  readonly streamsWaiting: Set<QuicStream>;
  /** The error of writes, once the connection has ended. */
  readonly endError: Error | undefined;
  /** Called when both directions of the stream have ended. */
  forget(stream: QuicStream): void;
}

interface Write {
  readonly bytes: Uint8Array;
  readonly fin: boolean;
  readonly done: PromiseWithResolvers<void>;
  sent: number;
}

/** A bidirectional or unidirectional stream. */
export class QuicStream {
  readonly id: number;
  /**
   * Receives the data of the peer, in order. The bytes are borrowed until the call returns. With
   * `fin`, which may come without bytes, nothing follows. Without a handler, quiche keeps the data,
   * and flow control stops the peer.
   */
  #onData: ((bytes: Uint8Array, fin: boolean) => void) | undefined;
  readonly #owner: StreamOwner;
  readonly #writes: Write[] = [];
  #isReadable: boolean;
  #isWritable: boolean;

  constructor(
    owner: StreamOwner,
    id: number,
    { isReadable, isWritable }: { readonly isReadable: boolean; readonly isWritable: boolean },
  ) {
    this.#owner = owner;
    this.id = id;
    this.#isReadable = isReadable;
    this.#isWritable = isWritable;
  }

  /** The handler of the data of the peer. Data that was received before is passed to it at once. */
  set onData(handler: ((bytes: Uint8Array, fin: boolean) => void) | undefined) {
    this.#onData = handler;
    this._read();
  }

  /**
   * Writes to the stream. The bytes are borrowed until the promise settles, which is when quiche has
   * accepted all of them: wait for it to send no faster than the peer receives.
   *
   * Pass `fin` with the last bytes. quiche 0.18 may lose an end that is written later, without bytes,
   * while other streams use up the congestion window.
   *
   * @throws Error if the stream was stopped by the peer, or the connection was closed.
   */
  write(bytes: Uint8Array, fin = false): Promise<void> {
    const { endError } = this.#owner;
    if (endError !== undefined) return Promise.reject(endError);
    const write = { bytes, fin, done: Promise.withResolvers<void>(), sent: 0 };
    if (this.#writes.push(write) === 1) {
      this.#owner.streamsWaiting.add(this);
      this._write();
    }
    this.#owner.wake();
    return write.done.promise;
  }

  /** Stops both directions with an error code of the application. */
  reset(error: number): void {
    const { native } = this.#owner;
    for (const direction of [SHUTDOWN.read, SHUTDOWN.write]) {
      try {
        native.streamShutdown(this.id, direction, error);
      } catch {
        // The direction has ended, or does not exist.
      }
    }
    this.#isReadable = false;
    this._fail(new Error(`stream ${this.id} was reset`));
    this.#endWriting();
    this.#owner.wake();
  }

  /** Passes available data to the handler. */
  _read(): void {
    const { native } = this.#owner;
    while (this.#onData !== undefined) {
      let read: [number, boolean] | null;
      try {
        read = native.streamRecv(this.id, readBuffer);
      } catch (error) {
        // The peer has reset the stream, or it does not exist yet.
        if ((error as Error).message.startsWith("StreamReset")) {
          this.#onData(NO_BYTES, true);
          this.#endReading();
        }
        return;
      }
      if (read === null) return;
      const [length, fin] = read;
      this.#onData(length === readBuffer.length ? readBuffer : readBuffer.subarray(0, length), fin);
      if (fin) {
        this.#endReading();
        return;
      }
    }
  }

  /** Passes as many queued bytes to quiche as it accepts. */
  _write(): void {
    const { native } = this.#owner;
    for (let write = this.#writes[0]; write !== undefined; write = this.#writes[0]) {
      const left = write.sent === 0 ? write.bytes : write.bytes.subarray(write.sent);
      let sent: number | null;
      try {
        sent = native.streamSend(this.id, left, write.fin);
      } catch (error) {
        this._fail(error as Error);
        this.#endWriting();
        return;
      }
      if (sent === null) return;
      write.sent += sent;
      // The other streams that wait are first next time.
      this.#owner.streamsWaiting.delete(this);
      this.#owner.streamsWaiting.add(this);
      if (write.sent < write.bytes.length) return;
      write.done.resolve();
      this.#writes.shift();
      if (write.fin) this.#endWriting();
    }
    this.#owner.streamsWaiting.delete(this);
  }

  #endReading(): void {
    this.#isReadable = false;
    if (!this.#isWritable) this.#owner.forget(this);
  }

  #endWriting(): void {
    this.#isWritable = false;
    if (!this.#isReadable) this.#owner.forget(this);
  }

  /** Rejects all writes. */
  _fail(error: Error): void {
    if (this.#writes.length === 0) return;
    for (const { done } of this.#writes.splice(0)) done.reject(error);
    this.#owner.streamsWaiting.delete(this);
  }
}

/** Shared by all streams: data is passed on before the next read. */
const readBuffer = new Uint8Array(new ArrayBuffer(65_536));
const NO_BYTES = new Uint8Array(0);
