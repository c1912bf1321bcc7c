/** Counts descriptors after Workers have ended: theirs are closed later, with their heaps. */

import { openDescriptors } from "../tools/sockets.ts";

/** Returns the number of open descriptors once none has been closed for 200 ms. */
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
