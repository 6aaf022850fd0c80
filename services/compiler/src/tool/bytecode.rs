//! The form in which an engine gets a tool: bytecode, which takes a fraction of the time that its source takes. The process that bundles a tool
//! makes it and runs nothing. The executable is part of the key of a bundle, so another executable makes its own.

use rquickjs::{CatchResultExt, Context, Ctx, Error, Exception, Module, Result, Runtime, WriteOptions, module::Declared};

use super::runtime::{Failure, broken, failure, runtime};

/// The name of the module in an engine.
const NAME: &str = "tool";
/// The bytes before all bytecode. An executable can be replaced between a bundle and its use, so the key of the bundle is not enough.
const ENGINE: &[u8] = b"rquickjs-sys 0.14.0\n";

/// The bytecode of a module that imports nothing.
///
/// # Errors
/// The source is no such module, or exceeds a limit.
pub(crate) fn compile(source: &str) -> std::result::Result<Vec<u8>, Failure> {
    compile_in(&runtime().map_err(broken)?, source)
}

fn compile_in(runtime: &Runtime, source: &str) -> std::result::Result<Vec<u8>, Failure> {
    let context = Context::full(runtime).map_err(broken)?;
    context.with(|ctx| {
        let module = Module::declare(ctx.clone(), NAME, source).catch(&ctx).map_err(|error| failure(&error))?;
        // Messages have no places of the tool.
        let written = module.write(WriteOptions { strip_source: true, strip_debug: true, ..WriteOptions::default() });
        // Without memory QuickJS leaves out what does not fit, and goes on. Only the exception says so.
        let whole = written.and_then(|code| if ctx.has_exception() { Err(Error::Exception) } else { Ok(code) });
        Ok([ENGINE, &whole.catch(&ctx).map_err(|error| failure(&error))?].concat())
    })
}

/// The module of [`compile`].
pub(super) fn load<'js>(ctx: &Ctx<'js>, code: &[u8]) -> Result<Module<'js, Declared>> {
    let Some(code) = code.strip_prefix(ENGINE) else { return Err(Exception::throw_message(ctx, "it was compiled for another engine")) };
    #[allow(unsafe_code, reason = "QuickJS trusts bytecode")]
    // SAFETY: this version of QuickJS made the bytecode in `compile`, which keeps nothing that was written without memory. The hash of the bytecode
    // is its address, and was checked, so that no other bytecode takes its place. QuickJS copies it.
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

    /// Each limit ends the translation at another place. Without the check of the exception, some of them give short bytecode.
    #[test]
    fn without_memory_there_is_no_bytecode() {
        let long = "x".repeat(1 << 20);
        let source = format!("const {long} = 1; export function run() {{ return [{long}, '{long}', {{ {long} }}] }}");
        let whole = compile(&source).expect("bytecode");
        let (mut failed, mut succeeded) = (0, 0);
        for limit in (1..60).map(|part| part << 19) {
            let runtime = runtime().expect("a runtime");
            runtime.set_memory_limit(limit);
            match compile_in(&runtime, &source) {
                Ok(code) => {
                    assert!(code == whole, "bytecode of {} bytes with a limit of {limit} bytes", code.len());
                    succeeded += 1;
                }
                Err(_) => failed += 1,
            }
        }
        assert!(failed > 5 && succeeded > 5, "{failed} {succeeded}");
    }

    #[test]
    fn the_engine_is_the_one_of_the_lock_file() {
        let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock")).expect("the lock file");
        let package = lock.split("name = \"rquickjs-sys\"\nversion = \"").nth(1).expect("the package");
        let version = package.split('"').next().expect("a version");
        assert_eq!(ENGINE, format!("rquickjs-sys {version}\n").as_bytes());
    }

    #[test]
    fn what_is_no_module_without_imports_is_refused() {
        for source in ["(", "export const a = /(/", "import 'std'", "export * from './a.js'", "await"] {
            assert!(compile(source).is_err(), "{:.20}", source);
        }
    }
}
