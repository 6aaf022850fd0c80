// Applies the decorators of a class or a member, the last one first.
export default function decorate(decorators, target, key, descriptor) {
  const isMember = arguments.length > 2;
  let result = !isMember ? target : descriptor === null ? Object.getOwnPropertyDescriptor(target, key) : descriptor;
  for (let at = decorators.length - 1; at >= 0; at--) {
    const decorator = decorators[at];
    if (!decorator) continue;
    const replaced = !isMember ? decorator(result) : arguments.length > 3 ? decorator(target, key, result) : decorator(target, key);
    result = replaced || result;
  }
  if (arguments.length > 3 && result) Object.defineProperty(target, key, result);
  return result;
}
