/** All fuzzed properties. */

import { addresses } from "./addresses.ts";
import { controlMessages } from "./control-messages.ts";
import { masque } from "./masque.ts";
import type { FuzzProperty } from "./property.ts";
import { tunnel } from "./tunnel.ts";
import { varints } from "./varints.ts";

export const PROPERTIES: readonly FuzzProperty[] = [
  ...controlMessages,
  ...addresses,
  ...varints,
  ...masque,
  ...tunnel,
];
