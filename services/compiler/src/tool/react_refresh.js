// Components of React. It runs before React, which looks for the hook that it installs.
import * as runtime from "react-refresh/runtime";

runtime.injectIntoGlobalHook(globalThis);

const isComponent = (value) => runtime.isLikelyComponentType(value);

function enter(id, exports) {
  for (const [name, value] of Object.entries(exports)) if (isComponent(value)) runtime.register(value, `${id} export ${name}`);
}

const finish = () => void runtime.performReactRefresh();
const register = runtime.register;
const sign = runtime.createSignatureFunctionForTransform;
