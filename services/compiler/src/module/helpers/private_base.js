// Refuses an object that has no such private field.
export default function classPrivateFieldLooseBase(receiver, key) {
  if (!Object.prototype.hasOwnProperty.call(receiver, key)) throw new TypeError("attempted to use private field on non-instance");
  return receiver;
}
