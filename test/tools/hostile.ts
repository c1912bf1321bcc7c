/** Hostile arguments: arrays and buffers that run code when they are read, or lie about their memory. */

/** Memory that was transferred, and that the library must not write to any more. */
export class Watched {
  readonly #moved: Uint8Array[] = [];

  /** Transfers the memory of `view`, fills it, and watches it. */
  transfer(view: Uint8Array): void {
    const buffer = realBuffer(view) as ArrayBuffer;
    if (buffer instanceof ArrayBuffer && !buffer.detached) {
      this.#moved.push(new Uint8Array(buffer.transfer()).fill(0xa5));
    }
  }

  /** Throws if a byte was written. */
  check(): void {
    for (const bytes of this.#moved) {
      if (bytes.some((byte) => byte !== 0xa5)) throw new Error("transferred memory was written to");
    }
  }
}

const typedArray = Object.getPrototypeOf(Uint8Array.prototype);
const bufferGetter = Object.getOwnPropertyDescriptor(typedArray, "buffer")?.get as () => unknown;

/** Returns the memory of `view`, whatever its property says. */
export function realBuffer(view: Uint8Array): unknown {
  return bufferGetter.call(view);
}

/** Returns a copy of `array` whose element `index` runs `run` when it is read. */
export function withAccessor<T>(array: readonly T[], index: number, run: () => void): T[] {
  const copy = [...array];
  const value = copy[index] as T;
  const get = () => {
    run();
    return value;
  };
  return Object.defineProperty(copy, index, { get, enumerable: true });
}

/** Returns a `Proxy` of `array` that runs `run` when element `index` is read. */
export function withTrap<T>(array: readonly T[], index: number, run: () => void): T[] {
  return new Proxy([...array], {
    get(target, property, receiver) {
      if (property === String(index)) run();
      return Reflect.get(target, property, receiver);
    },
  });
}

const LENGTHS = ["byteLength", "length", "byteOffset", "buffer"] as const;

/** Gives `view` own properties that keep their values when the memory is transferred. */
export function withOwnProperties<V extends Uint8Array>(view: V): V {
  for (const name of LENGTHS) Object.defineProperty(view, name, { value: view[name] });
  return view;
}

/** A subclass that claims to be longer than its memory. */
export class Boastful extends Uint8Array {
  override get byteLength(): number {
    return 100_000;
  }
  override get length(): number {
    return 100_000;
  }
  override get byteOffset(): number {
    return 0;
  }
}

/** Objects for which `instanceof Uint8Array` is true, and that are no `Uint8Array`. */
export function impostors(): Uint8Array[] {
  const claims = { byteLength: 64, length: 64, byteOffset: 0, buffer: new ArrayBuffer(64) };
  const inherits = Object.create(Uint8Array.prototype);
  const properties = Object.entries(claims).map(([name, value]) => [name, { value }]);
  const claiming = Object.create(Uint8Array.prototype, Object.fromEntries(properties));
  const elements = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [i, { value: i }]));
  return [
    inherits,
    claiming,
    Object.defineProperties(claiming, elements),
    Object.setPrototypeOf(new DataView(new ArrayBuffer(64)), Uint8Array.prototype),
    Object.setPrototypeOf([1, 2, 3], Uint8Array.prototype),
    new Proxy(new Uint8Array(64), {}),
    new Proxy(new Uint8Array(64), { get: (target, name) => Reflect.get(target, name) }),
  ];
}
