/** A broken invariant: the program under test has a fault. */
export class Violation extends Error {
  override readonly name: string = "Violation";
}

/** @throws Violation with `message` if `condition` is false. */
export function require(condition: boolean, message: () => string): asserts condition {
  if (!condition) throw new Violation(message());
}
