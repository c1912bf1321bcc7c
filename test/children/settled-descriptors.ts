/** Descriptors of a process whose Workers have ended: theirs go with their heaps, a little later. */

import { openDescriptors } from "../tools/sockets.ts";

/** How many are open once none was closed for a while. */
export async function settledDescriptors(): Promise<number> {
  let count = openDescriptors();
  for (let steady = 0; steady < 10; steady++) {
    Bun.gc(true);
    await Bun.sleep(20);
    const now = openDescriptors();
    if (now < count) steady = 0;
    count = now;
  }
  return count;
}
