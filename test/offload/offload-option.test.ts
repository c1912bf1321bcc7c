/** The `offload` option and the environment variable DATAGRAM_SOCKET_OFFLOAD. */

import { describe, expect, test } from "bun:test";
import { loadNative } from "../../ffi/native.ts";
import { AF_INET } from "../../lib/address/sockaddr.ts";
import { type UdpBindOptions, UdpSocket } from "../../lib/index.ts";
import { IPPROTO_UDP, SOCK_DGRAM, UDP_GRO, UDP_SEGMENT } from "../../lib/linux/constants.ts";
import { testIf } from "../ffi/tools.ts";
import {
  AVAILABLE,
  datagramsOf,
  expectSame,
  NO_OFFLOAD_REASON,
  openEnds,
  receiveAll,
} from "../tools/offload.ts";
import { rejection, runCommand } from "../tools/sockets.ts";

const loaded = loadNative();
const probeReason =
  "reason" in loaded
    ? loaded.reason
    : process.env.DATAGRAM_SOCKET_OFFLOAD === "off"
      ? "DATAGRAM_SOCKET_OFFLOAD is off"
      : undefined;

testIf(probeReason)("the probe finds the offloads that the kernel has socket options for", () => {
  if (!("native" in loaded)) throw new Error(loaded.reason);
  const { native } = loaded;
  const fd = native.open(AF_INET, SOCK_DGRAM, 0);
  const has = (name: number, value: number) =>
    native.setIntOption(fd, IPPROTO_UDP, name, value) >= 0;
  const expected = { gso: has(UDP_SEGMENT, 0), gro: has(UDP_GRO, 1) };
  native.close(fd);
  expect(AVAILABLE).toEqual(expected);
});

describe.skipIf(NO_OFFLOAD_REASON !== undefined)("the offload option", () => {
  /** The messages sent and received for three datagrams: one with GSO or GRO, else three. */
  const options: readonly { offload: UdpBindOptions["offload"]; messages: number[] }[] = [
    { offload: undefined, messages: [1, 1] },
    { offload: true, messages: [1, 1] },
    { offload: {}, messages: [1, 1] },
    { offload: false, messages: [3, 3] },
    { offload: { gso: false }, messages: [3, 3] },
    { offload: { gro: false }, messages: [1, 3] },
    { offload: { gso: false, gro: false }, messages: [3, 3] },
  ];
  test.each([...options])(
    "determines the messages sent and received: %j",
    async ({ offload, messages }) => {
      await using socket = await UdpSocket.bind({ hostname: "127.0.0.1", offload });
      const payloads = datagramsOf([9, 9, 9]);
      await socket.sendMany(payloads, { to: socket.localAddr });
      expectSame(await receiveAll(socket, 3), payloads);
      const { messagesSent, messagesReceived } = socket.counters;
      expect([messagesSent, messagesReceived]).toEqual(messages);
    },
  );

  test("can disable GSO and leave GRO enabled", async () => {
    using pair = await openEnds({ sender: true, receiver: false });
    await using receiver = await UdpSocket.bind({
      hostname: "127.0.0.1",
      offload: { gso: false },
    });
    await pair.sender.sendMany(datagramsOf([9, 9, 9]), { to: receiver.localAddr });
    expectSame(await receiveAll(receiver, 3), datagramsOf([9, 9, 9]));
    expect(receiver.counters.messagesReceived).toBe(1);
  });

  test.each([
    ["yes", TypeError, '"offload" expected boolean or object, got "yes"'],
    [1, TypeError, '"offload" expected boolean or object, got 1'],
    [null, TypeError, '"offload" expected boolean or object, got null'],
    [{ gso: "off" }, TypeError, '"offload.gso" expected boolean, got "off"'],
    [{ gro: 0 }, TypeError, '"offload.gro" expected boolean, got 0'],
    [
      { segmentation: false },
      TypeError,
      '"offload" got unknown option "segmentation", expected only gso, gro',
    ],
  ] as const)("rejects %j on both backends", async (offload, type, message) => {
    for (const backend of ["native", "portable"] as const) {
      const error = await rejection(UdpSocket.bind({ offload: offload as never, backend }));
      expect(error).toBeInstanceOf(type);
      expect((error as Error).message).toBe(message);
    }
  });

  /**
   * Sends three datagrams in a process with the variable set and the option, which is source text.
   * Returns the messages sent and received, or the error.
   */
  async function messagesInProcess(variable: string, option: string): Promise<string> {
    const { stdout, stderr } = await runCommand(
      [
        process.execPath,
        "-e",
        `import { UdpSocket } from "./lib/index.ts";
         const one = new Uint8Array(9);
         try {
           const socket = await UdpSocket.bind({ hostname: "127.0.0.1", offload: ${option} });
           await socket.sendMany([one, one, one], { to: socket.localAddr });
           for (let i = 0; i < 3; i++) await socket.recv(one);
           console.log(socket.counters.messagesSent, socket.counters.messagesReceived);
           socket.close();
         } catch (error) { console.log(String(error)); }`,
      ],
      { DATAGRAM_SOCKET_OFFLOAD: variable },
    );
    expect(stderr).toBe("");
    return stdout.trim();
  }

  test.each([
    ["off", "undefined", "3 3"],
    ["off", "true", "3 3"],
    ["off", "{ gso: false }", "3 3"],
    ["on", "undefined", "1 1"],
    ["on", "false", "3 3"],
    ["", "undefined", "1 1"],
    ["0", "undefined", 'RangeError: "DATAGRAM_SOCKET_OFFLOAD" expected "on" or "off", got "0"'],
  ])(
    "with DATAGRAM_SOCKET_OFFLOAD=%p and offload %s, messages sent and received: %s",
    async (variable, option, expected) => {
      expect(await messagesInProcess(variable, option)).toBe(expected);
    },
  );
});
