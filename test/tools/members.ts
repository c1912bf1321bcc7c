/** Objects of which a test replaces some methods, where the kernel cannot be made to fail. */

/** Returns an object as `target`, except for its own `members`. */
export function withMembers<T extends object>(target: T, members: Partial<T>): T {
  return new Proxy(target, {
    get(_, name) {
      if (Object.hasOwn(members, name)) return members[name as keyof T];
      // Not the proxy: it has no private members.
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
