// Reads a property of the parent class.
export default function superPropGet(parent, key, receiver, flags) {
  const value = Reflect.get(Object.getPrototypeOf(flags & 1 ? parent.prototype : parent), key, receiver);
  return flags & 2 && typeof value === "function" ? (values) => value.apply(receiver, values) : value;
}
