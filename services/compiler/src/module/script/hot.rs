//! What a module needs so that an open page can exchange it: functions at the end of its code, where no line moves. The script of the gateway
//! (`gateway/src/web/preview_hot.js`) answers them.

use super::Source;
use crate::module::data::quoted;

/// How the code reaches the script of the page.
const PAGE: &str = "globalThis[Symbol.for(\"backlot:hot\")]";

/// Names that the source does not contain.
pub(super) struct Names {
    /// The start of all of them.
    pub(super) prefix: String,
    /// Returns what `import.meta.hot` is.
    pub(super) context: String,
    /// Takes the place of `import()`.
    pub(super) import: String,
    /// React Refresh or Prefresh registers a component.
    pub(super) register: String,
    /// It notes the hooks of a function.
    pub(super) sign: String,
}

impl Names {
    pub(super) fn new(text: &str) -> Self {
        let mut prefix = "backlot".to_owned();
        while text.contains(&prefix) {
            prefix.push('_');
        }
        let [context, import, register, sign] = ["Hot", "Import", "Register", "Sign"].map(|end| format!("{prefix}{end}"));
        Self { prefix, context, import, register, sign }
    }
}

/// What a module uses.
#[derive(Default)]
pub(super) struct Uses {
    pub(super) has_context: bool,
    pub(super) has_import: bool,
    pub(super) has_refresh: bool,
}

/// The functions that a module uses. Function declarations are defined before the first line runs.
pub(super) fn functions(source: &Source, names: &Names, uses: &Uses) -> String {
    let mut code = String::new();
    let Names { prefix, context, import: load, register, sign } = names;
    if uses.has_context || uses.has_refresh {
        code += &format!("function {context}() {{ return {PAGE}?.context(import.meta.url); }}\n");
    }
    if uses.has_import {
        code += &import(load);
    }
    if let Some(tool) = source.options.refresh.filter(|_| uses.has_refresh) {
        let (runtime, id) = (format!("{prefix}Refresh"), quoted(&format!("{} ", source.path)));
        code += &format!(
            "import {runtime} from {};\nfunction {register}(type, name) {{ return {runtime}.register(type, {id} + name); }}\n\
             function {sign}() {{ return {runtime}.sign(); }}\n{runtime}.watch({context}());\n",
            quoted(tool)
        );
    }
    code
}

/// A function that imports the newest instance of a module.
pub(crate) fn import(name: &str) -> String {
    format!("function {name}(specifier) {{ return {PAGE}?.load(import.meta.url, specifier) ?? import(specifier); }}\n")
}
