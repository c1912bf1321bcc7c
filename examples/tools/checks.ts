/** The checks of a demonstration, and their counts. */

/** What a part of the demonstration has found. */
export interface PartResult {
  readonly passed: number;
  readonly failed: number;
  /** What the machine could not do, with the reasons. */
  readonly skipped: readonly string[];
}

/** Runs checks, prints one line for each, and counts them. */
export class Checks implements PartResult {
  passed = 0;
  failed = 0;
  readonly skipped: string[] = [];

  /** Runs a check. It throws if it fails, and returns what it has found. */
  async run(name: string, check: () => Promise<string>): Promise<void> {
    try {
      console.log(`  ok    ${name}: ${await check()}`);
      this.passed++;
    } catch (error) {
      console.log(`  FAIL  ${name}: ${(error as Error).message}`);
      this.failed++;
    }
  }

  skip(name: string, reason: string): void {
    console.log(`  skip  ${name}: ${reason}`);
    this.skipped.push(`${name}: ${reason}`);
  }
}

/** @throws Error that names both values if they differ. */
export function expectEqual(name: string, actual: number, expected: number): void {
  if (actual !== expected) throw new Error(`${name} expected ${expected}, got ${actual}`);
}
