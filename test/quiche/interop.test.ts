import { describe, expect, test } from "bun:test";
import { bodyDigest } from "../../examples/quiche/body.ts";
import { download, echoDatagrams } from "../../examples/quiche/client.ts";
import { findPeers, runPeerClient, startPeerServer } from "../../examples/quiche/interop.ts";
import { SocketAddress } from "../../lib/index.ts";
import { identity, openClient, openServer, skipReason } from "./endpoints.ts";

const BYTES = 2_000_000;
const DATAGRAMS = 50;

for (const { name, command, reason } of skipReason === undefined ? findPeers() : []) {
  if (reason !== undefined) console.log(`tests with ${name} are skipped: ${reason}`);
  describe.skipIf(reason !== undefined)(name, () => {
    test("as a client of this example: SHA-256 and DATAGRAMs are equal", async () => {
      await using server = await openServer();
      const { port } = server.address;
      const amounts = { port, bytes: BYTES, datagrams: DATAGRAMS };
      const { digest, echoed } = await runPeerClient(command ?? [], identity, amounts);
      expect(digest).toBe(bodyDigest(BYTES));
      expect(echoed).toBe(DATAGRAMS);
    });

    test("as a server of this example: SHA-256 and DATAGRAMs are equal", async () => {
      await using server = await startPeerServer(command ?? [], identity);
      await using client = await openClient();
      const connection = client.endpoint.connect(SocketAddress.ip("127.0.0.1", server.port));
      await connection.established;
      await download(connection, BYTES);
      const amounts = { count: DATAGRAMS, bytes: 1000 };
      expect(await echoDatagrams(connection, amounts)).toBe(DATAGRAMS);
    });
  });
}
