// The key that an object would use for a value.
export default function toPropertyKey(value) {
  if (typeof value === "object" && value !== null) {
    const convert = value[Symbol.toPrimitive];
    value = convert ? convert.call(value, "string") : String(value);
  }
  return typeof value === "symbol" ? value : String(value);
}
