// A property name that no other class uses.
let next = 0;
export default function classPrivateFieldLooseKey(name) {
  return `__private_${next++}_${name}`;
}
