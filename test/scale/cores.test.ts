/** The example in examples/scale/cores: flows stay on their Worker, also when it is replaced. */

import { describe, expect, test } from "bun:test";
import { runClients } from "../../examples/scale/cores/clients.ts";
import {
  connectionIdOf,
  decodeReply,
  decodeRequest,
  encodeReply,
  encodeRequest,
  type Form,
  steeringOf,
} from "../../examples/scale/cores/protocol.ts";
import { WorkerGroup } from "../../examples/scale/cores/worker-group.ts";
import { Checks, expectEqual } from "../../examples/tools/checks.ts";
import { expectedIndex } from "../tools/reuse-port.ts";
import { CHILD_TIMEOUT_MS, openDescriptors, sequence, until } from "../tools/sockets.ts";

const FORMS: readonly Form[] = ["flow ID", "connection ID"];
const FLOWS = 12;

describe.each(FORMS)("requests with a %s", (form) => {
  test.each([true, false])("are decoded as they were encoded, first %p", (isFirst) => {
    const request = { id: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8), number: 2 ** 32 - 1, isFirst };
    const datagram = Buffer.from(encodeRequest(form, request));
    const expected = { ...request, isFirst: isFirst && form === "connection ID" };
    expect(decodeRequest(form, datagram)).toEqual(expected);
    const reply = { id: request.id, number: 1, worker: 2, seen: 3 };
    expect(decodeReply(Buffer.from(encodeReply(reply)))).toEqual(reply);
  });

  test(
    "stay on their Worker, which is replaced, and none is lost",
    async () => {
      const before = openDescriptors();
      {
        await using group = await WorkerGroup.start(form, 2);
        await group.steer();
        const { port } = group;
        const load = { form, port, workers: 2, flows: FLOWS };
        const counts = await runClients({ ...load, during: () => group.replace(0) });
        expect(counts).toMatchObject({ moved: 0, incomplete: 0, flows: FLOWS });
        const servers = await group.counts();
        expect(servers.length).toBe(3);
        const answered = servers.reduce((sum, server) => sum + server.answered, 0);
        expect(answered).toBe(counts.answered);
      }
      // The event loop of Bun and the readiness of the thread keep a few.
      await until(() => openDescriptors() <= before + 10);
    },
    CHILD_TIMEOUT_MS,
  );
});

test("connection IDs of every Worker select it", () => {
  for (const workers of [1, 2, 3, 4, 7, 100, 256]) {
    for (const worker of sequence(workers)) {
      const id = connectionIdOf(worker, workers);
      const request = encodeRequest("connection ID", { id, number: 1, isFirst: false });
      expect(expectedIndex(request, steeringOf("connection ID", workers))).toBe(worker);
    }
  }
});

test("checks count what passed, failed and was skipped", async () => {
  const checks = new Checks();
  await checks.run("one", async () => "found");
  await checks.run("two", async () => {
    expectEqual("flows", 1, 2);
    return "";
  });
  checks.skip("three", "no tool");
  expect({ ...checks }).toEqual({ passed: 1, failed: 1, skipped: ["three: no tool"] });
  expect(() => expectEqual("flows", 1, 2)).toThrow("flows expected 2, got 1");
});
