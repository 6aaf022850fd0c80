// Exchanges the components of a module in an open page. `isComponent`, `enter`, `finish`, `register` and `sign` are those of the framework.

// Whether the page keeps working if only this module is exchanged: what it exports besides components is the same as before.
function isExchangeable(before, after) {
  const names = Object.keys(after);
  const isSame = (name) => name in before && (isComponent(after[name]) ? isComponent(before[name]) : Object.is(before[name], after[name]));
  return names.length === Object.keys(before).length && names.every(isSame);
}

const behaviour = {
  // Whether a module with these exports can be exchanged without the modules that import it.
  accepts: (exports) => Object.values(exports).some(isComponent),
  // Returns whether the module could be exchanged.
  exchange(id, before, after) {
    for (const exports of [before, after]) enter(id, exports);
    return isExchangeable(before, after);
  },
  finish,
};

export default {
  register,
  sign,
  // `hot` is `import.meta.hot` of a module with components or hooks.
  watch: (hot) => void hot?.setBehaviour?.(behaviour),
};
