//! The engine that runs a tool: no files, no network, no clock and no randomness; bounded memory, stack, work and output.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use rquickjs::{CatchResultExt, CaughtError, Context, Ctx, Function, Module, Object, Value as JsValue};
use serde_json::Value;

use super::{
    bytecode,
    runtime::{Failure, broken, failure, runtime},
};

/// What the environment of the tools has.
const PRELUDE: &str = include_str!("prelude.js");
/// The engine asks after each ten thousand jumps or calls whether it may go on. So often it may: the limit is the same on every machine.
const MAX_TICKS: u64 = 12_000;
/// Bytes of a result.
const MAX_OUTPUT: usize = 16 << 20;

pub(super) struct Engine {
    context: Context,
    ticks: Arc<AtomicU64>,
}

impl Engine {
    /// Evaluates the module of a tool, which exports the function `run`. The code is that of [`super::bytecode::compile`].
    ///
    /// # Errors
    /// The code fails, or exceeds a limit.
    pub(super) fn start(code: &[u8]) -> Result<Self, Failure> {
        let runtime = runtime().map_err(broken)?;
        let ticks = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&ticks);
        let interrupt = move || counter.fetch_add(1, Ordering::Relaxed) >= MAX_TICKS;
        runtime.set_interrupt_handler(Some(Box::new(interrupt)));
        let context = Context::full(&runtime).map_err(broken)?;
        let engine = Self { context, ticks };
        engine.context.with(|ctx| engine.load(&ctx, code))?;
        Ok(engine)
    }

    fn load<'js>(&self, ctx: &Ctx<'js>, code: &[u8]) -> Result<(), Failure> {
        let explain = |error| self.explain(error);
        ctx.eval::<(), _>(PRELUDE).catch(ctx).map_err(explain)?;
        let (module, evaluated) = bytecode::load(ctx, code).and_then(Module::eval).catch(ctx).map_err(explain)?;
        evaluated.finish::<()>().catch(ctx).map_err(explain)?;
        let run: Function<'js> = module.namespace().and_then(|names| names.get("run")).catch(ctx).map_err(explain)?;
        ctx.globals().set("run", run).catch(ctx).map_err(explain)
    }

    /// Runs the tool. It gets and returns values of JSON.
    ///
    /// # Errors
    /// It throws, or exceeds a limit.
    pub(super) fn run(&self, input: &Value) -> Result<Value, Failure> {
        self.ticks.store(0, Ordering::Relaxed);
        let output = self.context.with(|ctx| self.call(&ctx, &input.to_string()))?;
        if output.len() > MAX_OUTPUT {
            return Err(Failure(format!("its result has more than {MAX_OUTPUT} bytes")));
        }
        serde_json::from_str(&output).map_err(|_| Failure("its result is no JSON".to_owned()))
    }

    fn call<'js>(&self, ctx: &Ctx<'js>, input: &str) -> Result<String, Failure> {
        let explain = |error| self.explain(error);
        let globals = ctx.globals();
        let json: Object<'js> = globals.get("JSON").catch(ctx).map_err(explain)?;
        let parse: Function<'js> = json.get("parse").catch(ctx).map_err(explain)?;
        let run: Function<'js> = globals.get("run").catch(ctx).map_err(explain)?;
        let value: JsValue<'js> = parse.call((input,)).catch(ctx).map_err(explain)?;
        let mut result: JsValue<'js> = run.call((value,)).catch(ctx).map_err(explain)?;
        if let Some(promise) = result.as_promise() {
            result = promise.finish().catch(ctx).map_err(explain)?;
        }
        let text = ctx.json_stringify(result).catch(ctx).map_err(explain)?;
        let text = text.ok_or_else(|| Failure("it has no result".to_owned()))?;
        text.to_string().catch(ctx).map_err(explain)
    }

    fn explain(&self, error: CaughtError<'_>) -> Failure {
        if self.ticks.load(Ordering::Relaxed) > MAX_TICKS {
            return Failure("it needs too much time".to_owned());
        }
        failure(&error)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// On a thread with the stack of a worker's.
    fn run(body: &str) -> Result<Value, Failure> {
        run_module(format!("export function run(input) {{ {body} }}"))
    }

    fn run_module(code: String) -> Result<Value, Failure> {
        let thread = std::thread::Builder::new().stack_size(64 << 20);
        let work = thread.spawn(move || Engine::start(&bytecode::compile(&code)?)?.run(&json!({ "a": 1 }))).expect("a thread");
        work.join().expect("a result")
    }

    #[test]
    fn values_go_in_and_out() {
        assert_eq!(run("return [input.a, 'b']"), Ok(json!([1, "b"])));
        assert_eq!(run("return Promise.resolve(input)"), Ok(json!({ "a": 1 })));
        assert_eq!(run("throw new Error('no')"), Err(Failure("no".to_owned())));
        assert_eq!(run("throw 'no'"), Err(Failure("no".to_owned())));
        assert_eq!(run("return undefined"), Err(Failure("it has no result".to_owned())));
        assert_eq!(run("return new Promise(() => {})"), Err(Failure("it waits for something that never happens".to_owned())));
    }

    #[test]
    fn there_is_no_clock_and_no_randomness() {
        let code = "return [Date.now(), new Date().getTime(), new Date(5).getTime(), new Date() instanceof Date, Math.random(), \
                    new Date().constructor.now(), performance.now(), typeof require, typeof fetch, typeof setTimeout, typeof std]";
        let first = run(code).expect("a result");
        assert_eq!(run(code).expect("a result"), first);
        let expected = json!([0, 0, 5, true, first[4], 0, 0, "undefined", "undefined", "undefined", "undefined"]);
        assert_eq!(first, expected);
    }

    #[test]
    fn nothing_is_imported() {
        assert!(run_module("import 'std'; export function run() {}".to_owned()).is_err());
        assert!(run_module("(".repeat(1_000_000)).is_err());
        assert!(run("return import('os')").is_err());
    }

    #[test]
    fn hostile_code_ends() {
        for body in [
            "for (;;) {}",
            "for (;;) { try { for (;;) {} } catch {} }",
            "const a = []; for (;;) a.push(new Array(100000).fill(1))",
            "let s = 'a'; for (;;) s += s",
            "(function f() { f() })()",
            "return /^(a+)+$/.test('a'.repeat(40) + 'b')",
            "return eval('['.repeat(1000000))",
            "return 'a'.repeat(20000000)",
            "return new Array(10000000).fill(0).map(Math.random).sort()",
            "return Promise.resolve().then(function again() { return Promise.resolve().then(again) })",
            "const a = {}; a.a = a; return a",
            "return new Proxy({}, { ownKeys() { for (;;) {} } })",
            "return { toJSON() { for (;;) {} } }",
            "const a = {}; Object.defineProperty(a, 'x', { enumerable: true, get() { return this } }); return a",
            "let a = 1n; for (;;) a = a << 100000n | a * a",
            "return JSON.parse('['.repeat(5000000))",
        ] {
            let result = run(body);
            assert!(result.is_err(), "{body}: {result:?}");
        }
    }
}
