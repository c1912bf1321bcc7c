/** The kinds of receive metadata that a socket can be asked for. */

import { checkOptions, optionKinds } from "../support/options.ts";

/** Receive metadata to enable (`true`) or disable (`false`). All kinds are disabled by default. */
export interface MetadataOptions {
  /** `destination`, `replySource` and `interfaceIndex` (IP_PKTINFO, IPV6_RECVPKTINFO). */
  readonly destination?: boolean | undefined;
  /** `originalDestination`, for TPROXY and similar rules (IP_RECVORIGDSTADDR). */
  readonly originalDestination?: boolean | undefined;
  /** `ecn` and `dscp`, which are one octet of the IP header (IP_RECVTOS, IPV6_RECVTCLASS). */
  readonly ecn?: boolean | undefined;
  /** `hopLimit` (IP_RECVTTL, IPV6_RECVHOPLIMIT). */
  readonly hopLimit?: boolean | undefined;
  /** `timestampNs` (SO_TIMESTAMPNS). */
  readonly timestamp?: boolean | undefined;
  /** `mark` (SO_RCVMARK, since Linux 5.19; older kernels require CAP_NET_ADMIN). */
  readonly mark?: boolean | undefined;
  /** `socketDrops` (SO_RXQ_OVFL). */
  readonly socketDrops?: boolean | undefined;
}

const METADATA_OPTIONS = optionKinds<MetadataOptions>({
  destination: "boolean",
  originalDestination: "boolean",
  ecn: "boolean",
  hopLimit: "boolean",
  timestamp: "boolean",
  mark: "boolean",
  socketDrops: "boolean",
});

/** The names of the `MetadataOptions`. */
export const METADATA_KINDS: readonly (keyof MetadataOptions)[] = Object.keys(
  METADATA_OPTIONS,
) as (keyof MetadataOptions)[];

/** The metadata kinds that are enabled on a socket, and the offloads that it uses. */
export type Capabilities = { readonly [Kind in keyof Required<MetadataOptions>]: boolean } & {
  /** Whether datagrams are sent as segments of one message. */
  readonly gso: boolean;
  /** Whether one message may contain several received datagrams. */
  readonly gro: boolean;
};

/** @throws TypeError for an unknown name or a value that is not a boolean. */
export function checkMetadataOptions(options: MetadataOptions): void {
  checkOptions("options", options, METADATA_OPTIONS);
}
