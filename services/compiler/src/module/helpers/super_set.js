// Writes a property of the parent class.
export default function superPropSet(parent, key, value, receiver, isStrict, isPrototype) {
  const done = Reflect.set(Object.getPrototypeOf(isPrototype ? parent.prototype : parent), key, value, receiver);
  if (!done && isStrict) throw new TypeError("failed to set property");
  return value;
}
