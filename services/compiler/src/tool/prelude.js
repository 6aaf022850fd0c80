// What the compilers expect of their environment. There is no clock and no randomness: the same input has the same output.
{
  const RealDate = Date;
  const zero = 0;
  globalThis.Date = new Proxy(RealDate, {
    construct: (target, values, self) => Reflect.construct(target, values.length === 0 ? [zero] : values, self),
    apply: (target) => new target(zero).toString(),
  });
  RealDate.now = () => zero;
  RealDate.prototype.constructor = globalThis.Date;
  let state = 1;
  Math.random = () => {
    state = (state * 16807) % 2147483647;
    return state / 2147483647;
  };
  const nothing = () => {};
  globalThis.console = { log: nothing, info: nothing, warn: nothing, error: nothing, debug: nothing, trace: nothing };
  globalThis.self = globalThis;
  // Modules of packages that ask for their file.
  globalThis.__filename = "/index.js";
  globalThis.__dirname = "/";
  globalThis.process = { env: {}, argv: [], platform: "linux", cwd: () => "/", versions: {} };
  globalThis.performance = { now: () => zero, mark: nothing, measure: nothing };
  globalThis.structuredClone = (value) => JSON.parse(JSON.stringify(value));
}
