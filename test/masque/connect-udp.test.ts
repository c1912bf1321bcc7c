/** URI templates, payload sizes and Proxy-Status fields of connect-udp proxies. */

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { SocketError, UdpSocket } from "../../lib/index.ts";
import {
  CONNECT_UDP_PAYLOAD_MAX,
  ConnectUdpTemplate,
  connectUdpPayloadMax,
  DEFAULT_TEMPLATE_PATH,
  proxyError,
  proxyErrorOf,
  proxyStatus,
  type QuicPath,
  quicDatagramPayloadMax,
  type UdpTarget,
} from "../../lib/masque/index.ts";

/** The templates of RFC 9298, section 2, and their expansions for 192.0.2.6:443. */
const TEMPLATES = [
  [
    "https://example.org/.well-known/masque/udp/{target_host}/{target_port}/",
    "/.well-known/masque/udp/192.0.2.6/443/",
  ],
  [
    "https://proxy.example.org:4443/masque?h={target_host}&p={target_port}",
    "/masque?h=192.0.2.6&p=443",
  ],
  [
    "https://proxy.example.org:4443/masque{?target_host,target_port}",
    "/masque?target_host=192.0.2.6&target_port=443",
  ],
] as const;

const TARGETS: readonly UdpTarget[] = [
  { host: "192.0.2.6", port: 443 },
  { host: "2001:db8::42", port: 1 },
  { host: "::ffff:192.0.2.6", port: 65_535 },
  { host: "target.example.org", port: 53 },
  { host: "xn--bcher-kva.example.", port: 53 },
];

describe("ConnectUdpTemplate", () => {
  test("expands the examples of the RFC", () => {
    for (const [template, path] of TEMPLATES) {
      expect(new ConnectUdpTemplate(template).expand(TARGETS[0] as UdpTarget)).toBe(path);
    }
    const template = new ConnectUdpTemplate(TEMPLATES[0][0]);
    // The colons of an IPv6 address are encoded.
    expect(template.expand({ host: "2001:db8::42", port: 443 })).toBe(
      "/.well-known/masque/udp/2001%3Adb8%3A%3A42/443/",
    );
    expect([template.origin, `${template}`]).toEqual(["https://example.org", TEMPLATES[0][0]]);
    expect(TEMPLATES[0][0].endsWith(DEFAULT_TEMPLATE_PATH)).toBe(true);
  });

  test("matches what it has expanded", () => {
    const others = [
      "https://p/{target_host},{target_port}",
      "https://p/x{target_port,target_host}",
    ];
    const more = [
      "https://p/a?x=1{&target_port,target_host}",
      "https://p/{user}{?target_port,token,target_host}",
    ];
    for (const text of [...TEMPLATES.map(([template]) => template), ...others, ...more]) {
      const template = new ConnectUdpTemplate(text);
      for (const target of TARGETS) {
        expect([text, template.match(template.expand(target))]).toEqual([text, target]);
      }
    }
  });

  test("refuses templates that the RFC forbids, with the rule", () => {
    const path = "{target_host}/{target_port}";
    for (const [template, rule] of [
      [`/masque/${path}`, "absolute URI"],
      [`https:///${path}`, "absolute URI"],
      ["https://p", "absolute URI"],
      [`https://p/${path}#x`, "no fragment"],
      ["https://{target_host}/{target_port}", "absolute URI"],
      [`https://p/ü/${path}`, "ASCII"],
      [`https://p/ /${path}`, "ASCII"],
      ["https://p/{target_host}", "variable target_port"],
      [`https://p/{target_host}/${path}`, "variable target_host once"],
      ["https://p/{+target_host}/{target_port}", "not {+target_host}"],
      ["https://p{/target_host,target_port}", "absolute URI"],
      ["https://p/x{/target_host,target_port}", "not {/target_host,target_port}"],
      ["https://p/{#target_host}/{target_port}", "absolute URI"],
      ["https://p/{.target_host}/{target_port}", "not {.target_host}"],
      ["https://p/{;target_host}/{target_port}", "not {;target_host}"],
      ["https://p/{target_host:3}/{target_port}", "without modifiers"],
      ["https://p/{target_host*}/{target_port}", "without modifiers"],
      ["https://p/{target_host/{target_port}", "balanced braces"],
      ["https://p/target_host}/{target_port}", "balanced braces"],
    ] as const) {
      const make = () => new ConnectUdpTemplate(template);
      expect(make).toThrow(RangeError);
      expect(make).toThrow(rule);
    }
    expect(() => new ConnectUdpTemplate(undefined as never)).toThrow(TypeError);
  });

  test("refuses targets that cannot be reached", () => {
    const template = new ConnectUdpTemplate(TEMPLATES[0][0]);
    for (const host of ["", "fe80::1%eth0", "[::1]", "a b", "a/b", "..", ":", "x".repeat(254)]) {
      expect(() => template.expand({ host, port: 1 })).toThrow(RangeError);
    }
    for (const port of [0, 65_536, -1, 1.5, Number.NaN]) {
      expect(() => template.expand({ host: "a", port })).toThrow(RangeError);
    }
  });

  test("matches no other path, and no invalid target", () => {
    const template = new ConnectUdpTemplate(TEMPLATES[0][0]);
    const start = "/.well-known/masque/udp/";
    for (const path of [
      "",
      "/",
      `${start}192.0.2.6/443`,
      `x${start}192.0.2.6/443/`,
      `${start}192.0.2.6/443/x`,
      `${start}192.0.2.6/443/?x=1`,
      `${start}192.0.2.6//`,
      `${start}/443/`,
      `${start}192.0.2.6/0/`,
      `${start}192.0.2.6/65536/`,
      `${start}192.0.2.6/+443/`,
      `${start}192.0.2.6/0443/`,
      `${start}192.0.2.6/4e2/`,
      `${start}%zz/443/`,
      `${start}%00/443/`,
      `${start}a%2Fb/443/`,
      `${start}fe80%3A%3A1%25eth0/443/`,
      `${start}%5B%3A%3A1%5D/443/`,
    ]) {
      expect([path, template.match(path)]).toEqual([path, undefined]);
    }
    const property = fc.property(fc.string(), fc.string(), (a, b) => {
      const target = template.match(`${start}${a}/${b}/`);
      if (target !== undefined) expect(target.port).toBeGreaterThan(0);
    });
    fc.assert(property, { numRuns: 2000 });
  });
});

describe("payload sizes", () => {
  const path: QuicPath = { pathMtu: 1500, family: "ipv4", connectionIdBytes: 8 };

  test("subtract every header", () => {
    // 1500 - 20 (IP) - 8 (UDP) - 1 - 8 - 4 (short header) - 16 (tag) - 1 (frame type).
    expect(quicDatagramPayloadMax(path)).toBe(1442);
    expect(quicDatagramPayloadMax({ ...path, family: "ipv6" })).toBe(1422);
    expect(quicDatagramPayloadMax({ ...path, connectionIdBytes: 0 })).toBe(1450);
    expect(quicDatagramPayloadMax({ ...path, packetNumberBytes: 1 })).toBe(1445);
    expect(quicDatagramPayloadMax({ ...path, hasLengthField: true })).toBe(1440);
    expect(quicDatagramPayloadMax({ ...path, maxDatagramFrameSize: 1200 })).toBe(1199);
    expect(quicDatagramPayloadMax({ ...path, maxDatagramFrameSize: 0 })).toBe(0);
    expect(quicDatagramPayloadMax({ ...path, pathMtu: 68 })).toBe(10);
    expect(connectUdpPayloadMax(1442, 0)).toBe(1440);
    expect(connectUdpPayloadMax(1442, 256, 64)).toBe(1438);
    expect(connectUdpPayloadMax(1, 0)).toBe(0);
    expect(connectUdpPayloadMax(100_000, 0)).toBe(CONNECT_UDP_PAYLOAD_MAX);
  });

  test("leave no byte unused and exceed nothing, with a length field", () => {
    for (let maxDatagramFrameSize = 0; maxDatagramFrameSize < 1400; maxDatagramFrameSize++) {
      const options = { ...path, hasLengthField: true, maxDatagramFrameSize };
      const payload = quicDatagramPayloadMax(options);
      const size = (bytes: number) => 1 + (bytes < 64 ? 1 : 2) + bytes;
      if (payload > 0) expect(size(payload)).toBeLessThanOrEqual(maxDatagramFrameSize);
      expect(size(payload + 1)).toBeGreaterThan(maxDatagramFrameSize);
    }
  });

  test("refuse invalid values", () => {
    for (const wrong of [
      { pathMtu: 67 },
      { pathMtu: 65_576 },
      { family: "ipv5" },
      { family: "toString" },
      { connectionIdBytes: 21 },
      { packetNumberBytes: 0 },
      { packetNumberBytes: 5 },
      { maxDatagramFrameSize: -1 },
    ]) {
      expect(() => quicDatagramPayloadMax({ ...path, ...(wrong as object) })).toThrow(RangeError);
    }
    expect(() => quicDatagramPayloadMax({ ...path, mtu: 1 } as QuicPath)).toThrow(TypeError);
    expect(() => connectUdpPayloadMax(-1, 0)).toThrow(RangeError);
    expect(() => connectUdpPayloadMax(1000, 1)).toThrow(RangeError);
  });
});

describe("Proxy-Status", () => {
  test("describes the errors of sockets", async () => {
    const error = (code: string) => new SocketError({ errno: 0, code, syscall: "sendmmsg" });
    for (const [code, type, status] of [
      ["ECONNREFUSED", "connection_refused", 502],
      ["EHOSTUNREACH", "destination_ip_unroutable", 502],
      ["EPERM", "destination_ip_prohibited", 502],
      ["ENOTFOUND", "dns_error", 502],
      ["EAI_AGAIN", "dns_timeout", 504],
      ["EMFILE", "proxy_internal_error", 500],
      ["toString", "proxy_internal_error", 500],
    ] as const) {
      expect(proxyErrorOf(error(code))).toEqual({ type, status });
    }
    expect(proxyErrorOf(undefined as never).status).toBe(500);
    const hostname = "name.invalid";
    const failure = await UdpSocket.connect({ hostname, port: 1 }).catch((cause) => cause);
    expect(["dns_error", "dns_timeout"]).toContain(proxyErrorOf(failure).type);
  });

  test("is formatted as a structured field", () => {
    const error = proxyError("connection_refused");
    expect(proxyStatus("proxy.example.org", error)).toBe(
      "proxy.example.org; error=connection_refused",
    );
    expect(proxyStatus("my proxy", error, 'a "quoted" \\ text')).toBe(
      '"my proxy"; error=connection_refused; details="a \\"quoted\\" \\\\ text"',
    );
    for (const text of ["a\r\nset-cookie: x", "ü", undefined, 1]) {
      expect(() => proxyStatus(text as string, error)).toThrow(TypeError);
      if (text !== undefined)
        expect(() => proxyStatus("p", error, text as string)).toThrow(TypeError);
    }
    expect(() => proxyError("hasOwnProperty" as never)).toThrow(TypeError);
  });
});
