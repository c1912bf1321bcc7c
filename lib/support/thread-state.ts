/**
 * What all copies of the library in a thread have in common: classes, the native functions, the
 * reactor, caches.
 *
 * A process may have several copies: two packages that each bundle the library, or `bun --hot`,
 * which evaluates all modules again. The first copy of a version stores its values in an object on
 * `globalThis`. Later copies of the version drop their own and use these, so that an object of one
 * copy is an object of all, with the same private fields: a check of a private field accepts it, and
 * nothing else can pass it. Copies of different versions have only the errors (errors.ts) and the
 * symbols `WouldBlock` and `Pending` in common.
 *
 * Code that creates the object before the library is loaded can replace these classes, as it can
 * replace those of the engine. No memory address is stored there.
 */

/**
 * The version that copies must have in common: the one in package.json, as a copy may access all
 * members of a class, and each release may change them.
 */
export const ABI_VERSION = "0.1.0";

/** The property of `globalThis` with the shared values. */
const STATE: unique symbol = Symbol.for(`datagram-socket.${ABI_VERSION}`);

/** The property of the classes with their version. */
const VERSION: unique symbol = Symbol.for("datagram-socket.version");

/** The property of the classes with their name, which a minifier does not change. */
const NAME: unique symbol = Symbol.for("datagram-socket.name");

/** Values by name. Once defined, a value cannot be replaced. */
type State = Readonly<Record<string, unknown>>;

const state: State = findState() ?? createState();

/** Returns the object of the first copy; absent if there is none, or another kind of object. */
function findState(): State | undefined {
  const found: unknown = Object.getOwnPropertyDescriptor(globalThis, STATE)?.value;
  if (typeof found !== "object" || found === null) return undefined;
  return Object.getPrototypeOf(found) === null ? (found as State) : undefined;
}

function createState(): State {
  const created: State = Object.create(null);
  // If that fails, this copy has a state of its own.
  Reflect.defineProperty(globalThis, STATE, { value: created });
  return created;
}

function define<T>(name: string, value: T): T {
  Reflect.defineProperty(state, name, { value });
  return value;
}

/** Returns the value of the first copy that asked for this name, which `create` returned. */
export function sharedValue<T>(name: string, create: () => T): T {
  const found = state[name];
  return found === undefined ? define(name, create()) : (found as T);
}

/**
 * Stores the class of the first copy under this name. Returns true in a later copy, which must assign
 * `sharedClass(name)` to its own class, so that all of its code uses it. A class is a variable in
 * JavaScript, but TypeScript forbids the assignment (error 2629).
 *
 * The first copy assigns nothing, because the engine optimizes classes that are assigned once:
 * otherwise `SendBatch.push` takes 13 % longer.
 *
 * @example
 * ```ts
 * export class Example {}
 * if (isShared("Example", Example)) {
 *   // @ts-expect-error See `isShared`.
 *   Example = sharedClass("Example");
 * }
 * ```
 */
export function isShared(name: string, own: object): boolean {
  if (typeof state[name] === "function") return true;
  Object.defineProperty(own, VERSION, { value: ABI_VERSION });
  Object.defineProperty(own, NAME, { value: name });
  define(name, own);
  return false;
}

/** Returns the class that an earlier copy has stored. */
export function sharedClass(name: string): unknown {
  return state[name];
}

/** Returns the name of a class: of one of the library also if a minifier has renamed it. */
export function classNameOf(type: object): string {
  const own: unknown = Object.getOwnPropertyDescriptor(type, NAME)?.value;
  return typeof own === "string" ? own : String((type as { name?: unknown }).name);
}

/** Returns the version of the library that a class belongs to, if it is another one. */
export function otherVersionOf(type: object): string | undefined {
  const version: unknown = Reflect.get(type, VERSION);
  return typeof version === "string" && version !== ABI_VERSION ? version : undefined;
}
