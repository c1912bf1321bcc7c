/** Preloaded: reports a version of Bun whose C compiler crashes on some systems. */

Object.defineProperty(process.versions, "bun", { value: "1.4.2" });

export {};
