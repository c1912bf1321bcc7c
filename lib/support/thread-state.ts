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
 * Returns the class of the first copy with this name. A module assigns it to its own class, which is
 * a variable in JavaScript (TypeScript forbids the assignment, error 2629), so that all code of
 * the copy uses it. Uses of the class are as fast as without the assignment.
 *
 * @example
 * ```ts
 * export class Example {}
 * // @ts-expect-error See `sharedClass`.
 * Example = sharedClass("Example", Example);
 * ```
 */
export function sharedClass<Class extends { readonly prototype: object }>(
  name: string,
  own: Class,
): Class {
  const found = state[name];
  if (typeof found === "function") return found as unknown as Class;
  Object.defineProperty(own, VERSION, { value: ABI_VERSION });
  return define(name, own);
}

/** Returns the version of the library that a class belongs to, if it is another one. */
export function otherVersionOf(type: object): string | undefined {
  const version: unknown = Reflect.get(type, VERSION);
  return typeof version === "string" && version !== ABI_VERSION ? version : undefined;
}
