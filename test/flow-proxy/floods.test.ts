/** The proxy under floods of new flows: no address keeps others out, or evicts their flows. */

import { describe, expect, test } from "bun:test";
import { SimNetwork, type SimSocket } from "../../lib/testing/index.ts";
import {
  addressOf,
  clientOf,
  EGRESS,
  exchange,
  FLOWS_MAX,
  openProxy,
  received,
} from "./simulated-proxy.ts";

/** The addresses of floods, without the last digit. */
const FLOODER = "10.6.6.";

describe("a flood of new flows", () => {
  test("from one address evicts no flow of other addresses, however idle", async () => {
    const net = new SimNetwork({ seed: 1 });
    await net.run(async () => {
      const proxy = await openProxy(net);
      // A quarter of the table, as of clients that share an address.
      const clients = Array.from({ length: FLOWS_MAX / 4 }, () => clientOf(net, "10.1.0.1"));
      for (const client of clients) expect(await exchange(net, client)).toEqual([100]);
      // For 24 s: the clients' flows are idle, and do not expire.
      for (let i = 0; i < 2000; i++) {
        const flooder = clientOf(net, `${FLOODER}1`);
        await flooder.send(Uint8Array.of(1));
        await net.clock.sleep(12);
        flooder.close();
      }
      for (const client of clients) expect(await exchange(net, client)).toEqual([100]);
      const { flows, flowCounters } = proxy.ingress.snapshot();
      expect(flows).toBe(FLOWS_MAX);
      // Those that were opened after the clients' flows are the flooder's: no client has a new one.
      expect(flowCounters.opened - clients.length + flowCounters.refused).toBe(2000);
      expect(flowCounters.evicted).toBeGreaterThan(0);
      // The egress has removed the same flows: those of the clients have kept their upstream sockets.
      const egress = proxy.egress.snapshot();
      expect([egress.flows, egress.flowCounters.opened]).toEqual([FLOWS_MAX, flowCounters.opened]);
      expect(egress.flowCounters.ended).toBe(flowCounters.evicted);
      proxy.close();
    });
  });

  test.each([1, 2, 4])(
    "from addresses that keep theirs in use leaves room to others: %i addresses",
    async (count) => {
      const net = new SimNetwork({ seed: 1 });
      await net.run(async () => {
        const proxy = await openProxy(net);
        const flooders = Array.from({ length: FLOWS_MAX }, (_, i) =>
          clientOf(net, `${FLOODER}${i % count}`),
        );
        const flood = async () => {
          for (const flooder of flooders) await flooder.send(Uint8Array.of(1));
          await net.clock.sleep(1);
        };
        await flood();
        // Others get half of the table, one after the other, and keep it.
        const clients: SimSocket[] = [];
        for (let i = 0; i < FLOWS_MAX / 2; i++) {
          await flood();
          clients.push(clientOf(net, `10.1.0.${i + 1}`));
          expect(await exchange(net, clients[i] as SimSocket)).toEqual([100]);
        }
        for (let round = 0; round < 10; round++) {
          await flood();
          await net.clock.sleep(500);
          for (const client of clients) expect(await exchange(net, client)).toEqual([100]);
        }
        // No client was assigned a second flow.
        const { evicted } = proxy.ingress.snapshot().flowCounters;
        expect(evicted).toBe(FLOWS_MAX / 2);
        proxy.close();
      });
    },
  );

  test("of tunnel datagrams leaves room to other ingresses at the egress", async () => {
    const net = new SimNetwork({ seed: 1 });
    await net.run(async () => {
      const proxy = await openProxy(net);
      const early = clientOf(net, "10.1.0.1");
      expect(await exchange(net, early)).toEqual([100]);
      const flooder = net.bind(`${FLOODER}1`, 1, { connect: addressOf(EGRESS) });
      for (let id = 0; id < 2000; id++) {
        await flooder.send(Uint8Array.of(0x40 | (id >> 8), id & 255, 7));
        if (id % 8 === 0) await net.clock.sleep(100);
      }
      await net.clock.sleep(10);
      expect(proxy.egress.snapshot().flows).toBe(FLOWS_MAX);
      const { opened } = proxy.egress.snapshot().flowCounters;
      expect(await exchange(net, early)).toEqual([100]);
      expect(proxy.egress.snapshot().flowCounters.opened).toBe(opened);
      expect(await exchange(net, clientOf(net, "10.1.0.2"))).toEqual([100]);
      proxy.close();
    });
  });
});

test("a flood with forged addresses evicts no flow in use, and its datagrams are counted", async () => {
  const net = new SimNetwork({ seed: 1 });
  await net.run(async () => {
    const proxy = await openProxy(net);
    const clients = Array.from({ length: FLOWS_MAX / 2 }, (_, i) =>
      clientOf(net, `10.1.0.${i + 1}`),
    );
    const exchangeAll = async () => {
      for (const client of clients) await client.send(new Uint8Array(100));
      await net.clock.sleep(10);
      for (const client of clients) expect(received(client)).toEqual([100]);
    };
    await exchangeAll();
    for (let round = 0; round < 10; round++) {
      for (let i = 0; i < 100; i++) {
        const forged = clientOf(net, `10.${20 + round}.0.${i + 1}`);
        await forged.send(Uint8Array.of(1));
        forged.close();
      }
      await net.clock.sleep(500);
      await exchangeAll();
    }
    const { flows, flowCounters, drops } = proxy.ingress.snapshot();
    expect(flows).toBe(FLOWS_MAX);
    // No client was assigned a second flow.
    expect(flowCounters.opened - clients.length + flowCounters.refused).toBe(1000);
    expect([drops.refused, flowCounters.refused > 0]).toEqual([flowCounters.refused, true]);
    proxy.close();
  });
});
