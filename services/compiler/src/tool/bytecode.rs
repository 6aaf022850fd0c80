//! The form in which an engine gets a tool: bytecode, which takes a fraction of the time that its source takes. The process that bundles a tool
//! makes it and runs nothing. Only a process of the same executable loads it: the executable is part of the key of a bundle.

use rquickjs::{CatchResultExt, Context, Ctx, Module, Result, WriteOptions, module::Declared};

use super::runtime::{Failure, broken, failure, runtime};

/// The name of the module in an engine.
const NAME: &str = "tool";

/// The bytecode of a module that imports nothing.
///
/// # Errors
/// The source is no such module, or exceeds a limit.
pub(crate) fn compile(source: &str) -> std::result::Result<Vec<u8>, Failure> {
    let context = runtime().and_then(|runtime| Context::full(&runtime)).map_err(broken)?;
    context.with(|ctx| {
        let module = Module::declare(ctx.clone(), NAME, source).catch(&ctx).map_err(|error| failure(&error))?;
        // Messages have no places of the tool.
        module.write(WriteOptions { strip_source: true, strip_debug: true, ..WriteOptions::default() }).map_err(broken)
    })
}

/// The module of [`compile`].
pub(super) fn load<'js>(ctx: &Ctx<'js>, code: &[u8]) -> Result<Module<'js, Declared>> {
    #[allow(unsafe_code, reason = "QuickJS trusts bytecode")]
    // SAFETY: this executable made the bytecode with `compile`. Another one has other keys of bundles, and the hash of the bytecode is its
    // address, so that no other bytecode takes its place. QuickJS copies it.
    let module = unsafe { Module::load(ctx.clone(), code) };
    module
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_source_has_the_same_bytecode() {
        let source = "const names = new Map(); export function run(input) { names.set(input, /a+/u); return [...names.keys(), `${input}`, 1n, 0.5] }";
        let code = compile(source).expect("bytecode");
        assert_eq!(compile(source), Ok(code));
    }

    #[test]
    fn what_is_no_module_without_imports_is_refused() {
        for source in ["(", "export const a = /(/", "import 'std'", "export * from './a.js'", "await"] {
            assert!(compile(source).is_err(), "{:.20}", source);
        }
    }
}
