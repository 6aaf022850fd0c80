// The module `module` for a configuration and its plugins.
module.exports = { createRequire: (from) => globalThis.backlotRequire(String(from)) };
