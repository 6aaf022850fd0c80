//! The entries of Tailwind: its compiler with the style sheets, modules and words of packages that a sheet and its configuration name.

use std::collections::BTreeSet;

use compiler_client::message::tools::{TAILWIND, TAILWIND_3};
use serde_json::Value;

use super::builtins;
use crate::tree::path;

/// A version whose sheets are compiled.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Version {
    Three,
    Four,
}

impl Version {
    /// The specifier of the tool with parts of packages.
    pub(crate) fn tool(self, parts: &BTreeSet<Part>) -> String {
        let tool = match self {
            Self::Three => TAILWIND_3,
            Self::Four => TAILWIND,
        };
        let parts: Vec<_> = parts.iter().map(Part::written).collect();
        if parts.is_empty() { tool.to_owned() } else { format!("{tool}?{}", parts.join("&")) }
    }
}

/// What a tool needs of a package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Sheet(String),
    /// A module that is imported.
    Import(String),
    /// A module that `require` asks for.
    Require(String),
    /// The words of the files that a pattern below `node_modules` names.
    Words(String),
}

impl Part {
    fn written(&self) -> String {
        match self {
            Self::Sheet(name) => escaped(name),
            Self::Import(name) => format!("{}#import", escaped(name)),
            Self::Require(name) => format!("{}#require", escaped(name)),
            Self::Words(pattern) => format!("{}#words", escaped(pattern)),
        }
    }

    fn read(text: &str) -> Self {
        let (name, end) = text.split_once('#').unwrap_or((text, ""));
        let name = path::decoded(name).unwrap_or_else(|| name.to_owned());
        match end {
            "import" => Self::Import(name),
            "require" => Self::Require(name),
            "words" => Self::Words(name),
            _ => Self::Sheet(name),
        }
    }

    /// The statements that give the part to the tool.
    fn code(&self, at: usize) -> String {
        match self {
            Self::Sheet(name) => sheet(at, name, std::slice::from_ref(name)),
            Self::Import(name) => {
                let key = quoted(&format!("{name}#import"));
                format!("import * as part{at} from {};\nMODULES.set({key}, () => part{at});\n", quoted(name))
            }
            Self::Require(name) => format!("MODULES.set({}, () => require({}));\n", quoted(&format!("{name}#require")), quoted(name)),
            Self::Words(pattern) => {
                format!("import part{at} from {};\nWORDS.push(...part{at}.split(\"\\n\"));\n", quoted(&format!("{WORDS}{pattern}")))
            }
        }
    }
}

/// The start of the specifiers of modules with the words of packages.
pub(crate) const WORDS: &str = "backlot:words:";
/// The start of the specifiers of what a package depends on: `backlot:of:PACKAGE>SPECIFIER`.
pub(crate) const OF: &str = "backlot:of:";

/// The style sheets of Tailwind 4, without `tailwindcss/` and `.css`.
const SHEETS: [&str; 4] = ["index", "theme", "preflight", "utilities"];
/// Those of Tailwind 3.
const SHEETS_3: [&str; 6] = ["base", "components", "utilities", "variants", "screens", "tailwind"];

/// The code of the entry of a specifier.
pub(super) fn adapter(specifier: &str) -> Option<String> {
    let rest = specifier.strip_prefix(TAILWIND_3).map(|rest| (Version::Three, rest));
    let (version, rest) = rest.or_else(|| Some((Version::Four, specifier.strip_prefix(TAILWIND)?)))?;
    let parts: Vec<_> = match rest.strip_prefix('?') {
        Some(parts) => parts.split('&').map(Part::read).collect(),
        None if rest.is_empty() => Vec::new(),
        None => return None,
    };
    let mut code = "const SHEETS = new Map();\nconst MODULES = new Map();\nconst WORDS = [];\n".to_owned() + builtins::IMPORTS;
    code += match version {
        Version::Three => IMPORTS_3,
        Version::Four => "import { compile } from \"tailwindcss\";\n",
    };
    let own: &[&str] = if version == Version::Three { &SHEETS_3 } else { &SHEETS };
    for (at, name) in own.iter().enumerate() {
        let file = format!("tailwindcss/{name}.css");
        let short = if *name == "index" { "tailwindcss".to_owned() } else { format!("tailwindcss/{name}") };
        code += &sheet(at, &file, &[short, file.clone()]);
    }
    code.extend(parts.iter().enumerate().map(|(at, part)| part.code(own.len() + at)));
    code += include_str!("project_modules.js");
    code += include_str!("tailwind_sheets.js");
    Some(match version {
        Version::Three => code + include_str!("tailwindcss_3.js"),
        Version::Four => code + include_str!("tailwindcss.js"),
    })
}

/// What Tailwind 3 needs of its package.
const IMPORTS_3: &str = "import postcss from \"backlot:of:tailwindcss>postcss\";
import processTailwindFeatures from \"tailwindcss/lib/processTailwindFeatures\";
import resolveConfig from \"tailwindcss/resolveConfig\";
import nesting from \"tailwindcss/nesting\";
import preflight from \"tailwindcss/lib/css/preflight.css?raw\";
";

/// The name of a part without the characters that separate parts.
fn escaped(name: &str) -> String {
    ['%', '?', '&', '#'].iter().fold(name.to_owned(), |name, c| name.replace(*c, &format!("%{:02X}", u32::from(*c))))
}

fn sheet(at: usize, file: &str, names: &[String]) -> String {
    let import = format!("import part{at} from {};\n", quoted(&format!("{file}?raw")));
    names.iter().fold(import, |code, name| code + &format!("SHEETS.set({}, part{at});\n", quoted(name)))
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use compiler_client::message::tools::packages_of;

    use super::*;

    #[test]
    fn parts_are_read_as_they_are_written() {
        let parts = ["a/x.css", "@b/c#import", "d#require", "e/dist/**/*.{js,ts}#words"].map(Part::read);
        let all: BTreeSet<_> = parts.iter().cloned().collect();
        assert_eq!(parts.map(|part| part.written()), ["a/x.css", "@b/c#import", "d#require", "e/dist/**/*.{js,ts}#words"]);
        assert_eq!(Version::Three.tool(&BTreeSet::new()), TAILWIND_3);
        let code = adapter(&Version::Three.tool(&all)).expect("an entry");
        for expected in
            ["from \"a/x.css?raw\"", "\"@b/c#import\"", "require(\"d\")", "\"backlot:words:e/dist/**/*.{js,ts}\"", "resolveConfig"]
        {
            assert!(code.contains(expected), "{expected} is not in {code}");
        }
        assert!(adapter(&Version::Four.tool(&all)).expect("an entry").contains("import { compile }"));
        assert_eq!(adapter("backlot:tool/tailwindcss/2"), None);
    }

    #[test]
    fn characters_between_parts_can_be_in_them() {
        let parts = [
            Part::Sheet("a/x.css?b&c#import".to_owned()),
            Part::Import("a/b?x&y#words".to_owned()),
            Part::Words("a/100%25 ü/{a,b}".to_owned()),
            Part::Require("@b/c%".to_owned()),
        ];
        let specifier = Version::Four.tool(&parts.iter().cloned().collect());
        let read: BTreeSet<_> = specifier.split_once('?').expect("parts").1.split('&').map(Part::read).collect();
        assert_eq!(read, parts.into_iter().collect());
        let packages: BTreeSet<_> = packages_of(&specifier).into_iter().collect();
        assert_eq!(packages, BTreeSet::from(["tailwindcss", "a", "@b/c%25"]));
    }
}
