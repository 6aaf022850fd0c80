// A decorator of a parameter as a decorator of its function.
export default function decorateParam(index, decorator) {
  return (target, key) => decorator(target, key, index);
}
