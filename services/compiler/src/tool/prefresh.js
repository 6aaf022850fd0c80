// Components of Preact. It runs before the page, because it adds to the options of Preact.
import "@prefresh/core";
import { flush, isComponent } from "@prefresh/utils";

const runtime = self.__PREFRESH__;
// The code of a module registers its components.
const enter = () => {};
const finish = () => void flush();
const { register } = runtime;

// A function that notes the hooks of a component: called once in it, and once with what its hooks are.
function sign() {
  let status = "begin";
  let first;
  return (type, key, forceReset, hooks) => {
    first ??= type;
    status = runtime.sign(type ?? first, key, forceReset, hooks, status);
    return type;
  };
}
