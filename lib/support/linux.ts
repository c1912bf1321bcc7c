/**
 * Numbers of Linux that more than one file needs, as its headers have them for x64 and arm64.
 */

/** errno(3). */
export const EAGAIN = 11;
export const EEXIST = 17;
export const EINVAL = 22;
export const EMSGSIZE = 90;

/** The second argument of socket(2). */
export const SOCK_DGRAM = 2;

/** Levels of socket options, and of control messages. */
export const IPPROTO_IP = 0;
export const SOL_SOCKET = 1;
export const IPPROTO_UDP = 17;
export const IPPROTO_IPV6 = 41;

/** Options, and the control messages of the same name that they ask for. */
export const IP_PKTINFO = 8;
export const IP_RECVERR = 11;
export const IP_ORIGDSTADDR = 20;
export const IPV6_RECVERR = 25;
export const IPV6_ORIGDSTADDR = 74;
export const SO_TIMESTAMPNS = 35;
export const SO_RXQ_OVFL = 40;
export const UDP_SEGMENT = 103;
export const UDP_GRO = 104;
