/** Rules for targets, and addresses that need one of their own. */

import { describe, expect, test } from "bun:test";
import { networkInterfaces } from "node:os";
import { AllowList } from "../../examples/masque/allow-list.ts";
import { parseIp, parseIpRange } from "../../examples/masque/ip-address.ts";
import { reachabilityOf } from "../../examples/masque/special-addresses.ts";
import { resolveTarget } from "../../examples/masque/target-resolver.ts";

const PUBLIC = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111"];
const SPECIAL = [
  ...["10.0.0.1", "127.0.0.1", "127.255.255.254", "100.64.0.1", "169.254.169.254"],
  ...["172.16.0.1", "172.31.255.255", "192.168.1.1", "192.0.0.8", "192.0.2.1", "198.18.0.1"],
  ...["198.51.100.1", "203.0.113.9", "192.88.99.1", "::1", "fc00::1", "fd12::1", "fec0::1"],
  ...["2001:db8::1", "2001::1", "2002:7f00:1::", "64:ff9b:1::1", "100::1", "5f00::1", "4000::1"],
  ...["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:c0a8:101", "64:ff9b::7f00:1", "::7f00:1"],
];
const UNUSABLE = [
  ...["0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.255.255", "255.255.255.255", "240.0.0.1"],
  ...["::", "ff02::1", "fe80::1", "::ffff:224.0.0.1", "::ffff:0.0.0.0"],
];

function refusal(rules: readonly string[], host: string, address = host, port = 443) {
  return new AllowList(rules).refusal(host, address, port);
}

describe("addresses", () => {
  test("of the Internet are public", () => {
    for (const text of PUBLIC) expect([text, reachability(text)]).toEqual([text, "public"]);
  });

  test("of private and other special ranges are special, also within IPv6", () => {
    for (const text of SPECIAL) expect([text, reachability(text)]).toEqual([text, "special"]);
  });

  test("that no connected socket can use are unusable", () => {
    for (const text of UNUSABLE) expect([text, reachability(text)]).toEqual([text, "unusable"]);
  });

  test("of this host are special, even public ones", () => {
    const own = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
    const found = own.map(({ address }) => reachability(address.split("%")[0] as string));
    expect(found).not.toContain("public");
    expect(found.length).toBeGreaterThan(0);
  });

  test("are parsed in all notations, and other text is not", () => {
    expect(parseIp("::ffff:1.2.3.4")).toEqual({ family: 4, value: 0x0102_0304n });
    expect(parseIp("1::")).toEqual({ family: 6, value: 1n << 112n });
    expect(parseIp("1:2:3:4:5:6:1.2.3.4")?.value).toBe(0x0001_0002_0003_0004_0005_0006_0102_0304n);
    for (const text of ["", "1.2.3", "01.2.3.4", "0x7f.1", "2130706433", "fe80::1%eth0", "::1::"]) {
      expect([text, parseIp(text)]).toEqual([text, undefined]);
    }
    expect(parseIpRange("::ffff:10.0.0.0/104")).toEqual(parseIpRange("10.0.0.0/8") as never);
    for (const text of ["10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8/8", "::/129", "10.0.0.0/"]) {
      expect([text, parseIpRange(text)]).toEqual([text, undefined]);
    }
  });
});

describe("AllowList", () => {
  test("without rules refuses everything", () => {
    for (const host of [...PUBLIC, ...SPECIAL]) expect(refusal([], host)).toBeDefined();
  });

  test("* allows public addresses only", () => {
    for (const host of PUBLIC) expect([host, refusal(["*"], host)]).toEqual([host, undefined]);
    for (const host of [...SPECIAL, ...UNUSABLE]) {
      expect([host, refusal(["*"], host)]).toEqual([host, "address"]);
    }
  });

  test("ranges that are larger than a special range do not name it", () => {
    const wide = ["0.0.0.0/0", "::/0", "0.0.0.0/1", "8.0.0.0/6", "126.0.0.0/7"];
    for (const host of ["10.0.0.1", "127.0.0.1", "::1", "fd00::1", "::ffff:10.0.0.1"]) {
      expect([host, refusal(wide, host)]).toEqual([host, "address"]);
    }
    expect(refusal(wide, "11.0.0.1")).toBeUndefined();
  });

  test("a range within a special range names it", () => {
    expect(refusal(["10.0.0.0/8"], "10.1.2.3")).toBeUndefined();
    expect(refusal(["10.1.0.0/16"], "10.2.0.1")).toBe("address");
    expect(refusal(["127.0.0.1"], "::ffff:127.0.0.1")).toBeUndefined();
    expect(refusal(["127.0.0.1"], "127.0.0.2")).toBe("address");
    expect(refusal(["224.0.0.0/4", "0.0.0.0"], "224.0.0.1")).toBe("address");
  });

  test("a rule with a port allows only that port", () => {
    expect(refusal(["*:443"], "1.1.1.1")).toBeUndefined();
    expect(refusal(["*:53"], "1.1.1.1")).toBe("target");
    expect(refusal(["127.0.0.1:53"], "127.0.0.1")).toBe("address");
    expect(refusal(["[2606:4700::]/32:443"], "2606:4700::1")).toBeUndefined();
    expect(refusal(["[2606:4700::]/32:53"], "2606:4700::1")).toBe("target");
  });

  test("names match whole labels, without regard to case or a final dot", () => {
    const rules = ["example.org", "*.example.net:443"];
    const result = (host: string) => refusal(rules, host, "1.1.1.1");
    for (const host of ["example.org", "EXAMPLE.org.", "a.example.net", "b.a.example.net"]) {
      expect([host, result(host)]).toEqual([host, undefined]);
    }
    for (const host of ["example.net", "aexample.net", "a.example.org", "example.org.evil.com"]) {
      expect([host, result(host)]).toEqual([host, "target"]);
    }
  });

  test("a name that leads to a special address is refused (DNS rebinding)", () => {
    expect(refusal(["example.org", "*"], "example.org", "127.0.0.1")).toBe("address");
    expect(refusal(["example.org", "127.0.0.1"], "example.org", "127.0.0.1")).toBeUndefined();
  });

  test("malformed rules throw", () => {
    const wrong = ["", ":443", "a:0", "a:65536", "a:b", "10.0.0.0/33", "300.1.1.1", "1.2.3", "a b"];
    for (const rule of [...wrong, "[::1", "http://a", "*.*", "a..b", "::1:99999:1:1:1:1:1:1:1"]) {
      expect(() => new AllowList([rule]), rule).toThrow(RangeError);
    }
  });
});

describe("resolveTarget", () => {
  const rules = new AllowList(["*.example.org", "1.1.1.0/24"]);
  const resolve = (host: string, ...addresses: readonly string[]) =>
    resolveTarget({ host, port: 53 }, rules, async () => addresses);

  test("returns the first address that is allowed", async () => {
    const { address } = await resolve("a.example.org", "127.0.0.1", "8.8.8.8", "9.9.9.9");
    expect(address).toBe("8.8.8.8");
  });

  test("does not resolve names that no rule can allow", async () => {
    let lookups = 0;
    const lookup = async () => [`1.1.1.${++lookups}`];
    const list = new AllowList(["example.org"]);
    const { refusal } = await resolveTarget({ host: "other.org", port: 53 }, list, lookup);
    expect([refusal?.status, lookups]).toEqual([403, 0]);
  });

  test("reports refusals and errors by status", async () => {
    expect((await resolve("a.example.org", "10.0.0.1")).refusal?.status).toBe(502);
    expect((await resolve("a.example.org")).refusal?.headers["proxy-status"]).toContain(
      "dns_error",
    );
    for (const [code, status] of [
      ["ENOTFOUND", 502],
      ["EAI_AGAIN", 504],
      ["OTHER", 502],
    ] as const) {
      const fail = () => Promise.reject(Object.assign(new Error("10.9.8.7"), { code }));
      const { refusal } = await resolveTarget({ host: "a.example.org", port: 53 }, rules, fail);
      expect([code, refusal?.status]).toEqual([code, status]);
      expect(JSON.stringify(refusal)).not.toContain("10.9.8.7");
    }
  });
});

function reachability(text: string) {
  return reachabilityOf(parseIp(text) as NonNullable<ReturnType<typeof parseIp>>);
}
