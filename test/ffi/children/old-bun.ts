/** Preloaded: reports a version of Bun that is too old for the shim. */

Object.defineProperty(process.versions, "bun", { value: "1.4.2" });

export {};
