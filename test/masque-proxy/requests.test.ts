/** Requests that are refused, each with a status code, and limits. */

import { describe, expect, test } from "bun:test";
import { AllowList } from "../../examples/masque/allow-list.ts";
import { BearerTokens } from "../../examples/masque/bearer-tokens.ts";
import {
  connectHeaders,
  PATH,
  RawClient,
  skipReason,
  startEcho,
  TestProxy,
  until,
} from "./endpoints.ts";

describe("BearerTokens", () => {
  test("without tokens accepts everything", () => {
    const tokens = new BearerTokens([]);
    expect([tokens.isRequired, tokens.accept(undefined)]).toEqual([false, true]);
  });

  test("accepts each of its tokens, and nothing else", () => {
    const tokens = new BearerTokens(["abc", "d-e.f_g~h+i/j=="]);
    for (const text of ["Bearer abc", "bearer abc", "Bearer  abc", "Bearer d-e.f_g~h+i/j=="]) {
      expect([text, tokens.accept(text)]).toEqual([text, true]);
    }
    const wrong = ["", "abc", "Basic abc", "Bearer", "Bearer ", "Bearer ab", "Bearer abcd"];
    for (const text of [...wrong, "Bearer ABC", "Bearer abc def", undefined]) {
      expect([text, tokens.accept(text)]).toEqual([text, false]);
    }
  });

  test("an empty token is none, even if it is configured", () => {
    expect(new BearerTokens([""]).accept("Bearer ")).toBe(false);
    expect(new BearerTokens([""]).accept(undefined)).toBe(false);
  });
});

describe.skipIf(skipReason !== undefined)("the server", () => {
  const target = `${PATH}127.0.0.1/9/`;
  const cases: readonly [string, Record<string, string | undefined>, number][] = [
    ["method GET", { ":method": "GET", ":protocol": undefined }, 405],
    ["method POST", { ":method": "POST", ":protocol": undefined }, 405],
    ["an unknown :protocol", { ":protocol": "connect-ip" }, 501],
    ["the :protocol websocket", { ":protocol": "websocket" }, 501],
    ["a path of no template", { ":path": "/" }, 404],
    ["a path without a port", { ":path": `${PATH}127.0.0.1/` }, 400],
    ["port 0", { ":path": `${PATH}127.0.0.1/0/` }, 400],
    ["port 65536", { ":path": `${PATH}127.0.0.1/65536/` }, 400],
    ["an IPv6 zone", { ":path": `${PATH}fe80%3A%3A1%25lo/53/` }, 400],
    ["wrong percent encoding", { ":path": `${PATH}%zz/53/` }, 400],
    ["a private address", { ":path": `${PATH}10.0.0.1/53/` }, 502],
    ["an IPv4-mapped private address", { ":path": `${PATH}%3A%3Affff%3A10.0.0.1/53/` }, 502],
    ["multicast", { ":path": `${PATH}224.0.0.1/53/` }, 502],
    ["a target that no rule allows", { ":path": `${PATH}1.1.1.1/53/` }, 403],
  ];
  for (const [name, headers, status] of cases) {
    test(`refuses ${name} with ${status}`, async () => {
      await using proxy = await TestProxy.start();
      await using client = await RawClient.connect(proxy.server.port);
      const fields = Object.entries({ ...connectHeaders(target), ...headers });
      const given = fields.filter(([, value]) => value !== undefined);
      const response = await client.request(Object.fromEntries(given));
      expect(response.status).toBe(status);
      expect(response.headers["proxy-status"]).toStartWith("datagram-socket-masque; error=");
      expect(proxy.counters.refusals).toEqual({ [status]: 1 });
      expect([proxy.server.tunnels, proxy.counters.opened]).toEqual([0, 0]);
    });
  }

  test("requires a token before it looks at the target", async () => {
    await using proxy = await TestProxy.start({ tokens: ["secret"] });
    await using client = await RawClient.connect(proxy.server.port);
    const none = await client.connectUdp("10.0.0.1", 53);
    expect([none.status, none.headers["www-authenticate"]]).toEqual([401, 'Bearer realm="masque"']);
    const wrong = await client.connectUdp("127.0.0.1", 9, { authorization: "Bearer secre" });
    expect(wrong.status).toBe(401);
    const right = await client.connectUdp("127.0.0.1", 9, { authorization: "Bearer secret" });
    expect(right.status).toBe(200);
    const also = await client.connectUdp("127.0.0.1", 9, {
      "proxy-authorization": "Bearer secret",
    });
    expect(also.status).toBe(200);
  });

  test("refuses with 502 or 504 if a name cannot be resolved", async () => {
    const lookup = async (host: string) => {
      throw Object.assign(new Error("x"), {
        code: host.startsWith("a") ? "ENOTFOUND" : "EAI_AGAIN",
      });
    };
    await using proxy = await TestProxy.start({ allowList: new AllowList(["*"]), lookup });
    await using client = await RawClient.connect(proxy.server.port);
    const missing = await client.connectUdp("a.test", 53);
    expect(missing.status).toBe(502);
    expect(missing.headers["proxy-status"]).toContain('error=dns_error; details="ENOTFOUND"');
    expect((await client.connectUdp("b.test", 53)).status).toBe(504);
  });

  test("connects to the address that it has checked, not to another one of the name", async () => {
    using echo = await startEcho();
    let lookups = 0;
    const lookup = async () => [++lookups === 1 ? "127.0.0.1" : "10.0.0.1"];
    await using proxy = await TestProxy.start({ lookup });
    await using client = await RawClient.connect(proxy.server.port);
    const { status, stream } = await client.connectUdp("a.test", echo.localAddr.port);
    expect([status, lookups]).toEqual([200, 1]);
    await client.send(Number(stream.id) / 4, 0, 1, 2, 3);
    await until(() => client.datagrams.length === 1, "the echo");
  });

  test("limits the tunnels, of a connection and of all, with 503", async () => {
    await using proxy = await TestProxy.start({ tunnelsMax: 3, tunnelsPerConnectionMax: 2 });
    await using first = await RawClient.connect(proxy.server.port);
    await using second = await RawClient.connect(proxy.server.port);
    const open = async (client: RawClient) => (await client.connectUdp("127.0.0.1", 9)).status;
    const statuses = [await open(first), await open(first), await open(first)];
    expect([...statuses, await open(second), await open(second)]).toEqual([
      200, 200, 503, 200, 503,
    ]);
    expect(proxy.server.tunnels).toBe(3);
    expect(proxy.counters.refusals).toEqual({ 503: 2 });
  });

  test("a closed tunnel makes room for another", async () => {
    await using proxy = await TestProxy.start({ tunnelsMax: 1 });
    await using client = await RawClient.connect(proxy.server.port);
    const { stream } = await client.connectUdp("127.0.0.1", 9);
    stream.writer.endSync();
    await until(() => proxy.server.tunnels === 0, "the tunnel has ended");
    expect((await client.connectUdp("127.0.0.1", 9)).status).toBe(200);
  });

  test("tunnels that are being opened count for the limit", async () => {
    const { promise, resolve } = Promise.withResolvers<readonly string[]>();
    await using proxy = await TestProxy.start({ tunnelsMax: 1, lookup: () => promise });
    await using client = await RawClient.connect(proxy.server.port);
    const slow = await client.open(connectHeaders(`${PATH}a.test/9/`));
    await until(() => proxy.server.tunnels === 1, "the first is being opened");
    expect((await client.connectUdp("127.0.0.1", 9)).status).toBe(503);
    resolve(["127.0.0.1"]);
    expect((await slow.response).status).toBe(200);
  });

  test("fails to start on a port that is in use, and starts on a host name", async () => {
    await using proxy = await TestProxy.start({ listen: { hostname: "localhost", port: 0 } });
    const listen = { hostname: "localhost", port: proxy.server.port };
    await expect(TestProxy.start({ listen })).rejects.toThrow("Bind failure");
  });
});
