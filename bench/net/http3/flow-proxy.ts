/**
 * One half of the example flow proxy. Prints its port, and its snapshot for every line on standard
 * input.
 *
 *     flow-proxy.ts ingress|egress PORT_OF_TUNNEL_OR_UPSTREAM
 */

import { Egress } from "../../../examples/flow-proxy/egress.ts";
import { Ingress } from "../../../examples/flow-proxy/ingress.ts";
import { print } from "../peers/meter.ts";

const listen = { hostname: "127.0.0.1", port: 0 };
const to = { hostname: "127.0.0.1", port: Number(process.argv[3]) };
const options = { listen, flowsMax: 64, idleTimeoutMs: 30_000 };
const half =
  process.argv[2] === "ingress"
    ? await Ingress.open({ ...options, tunnel: to })
    : await Egress.open({ ...options, upstream: to });
print({ port: half.localAddr.port });
for await (const _line of console) print(half.snapshot());
