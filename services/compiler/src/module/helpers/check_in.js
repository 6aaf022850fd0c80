// The right side of `#field in object`.
export default function checkInRHS(value) {
  if (Object(value) !== value) throw new TypeError(`right-hand side of 'in' should be an object, got ${value === null ? "null" : typeof value}`);
  return value;
}
