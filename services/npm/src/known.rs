//! Packages that cannot work in a browser, and what to use instead. The table is `data/known.tsv`.

use std::{collections::HashMap, sync::LazyLock};

use crate::{
    error::shown,
    finding::{Code, Finding},
};

const TABLE: &str = include_str!("../data/known.tsv");

/// A line of the table.
#[derive(Debug, Clone, Copy)]
struct Known {
    is_native: bool,
    instead: &'static str,
}

static KNOWN: LazyLock<HashMap<&'static str, Known>> = LazyLock::new(|| lines().collect());

fn lines() -> impl Iterator<Item = (&'static str, Known)> {
    let lines = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.filter_map(|line| {
        let mut fields = line.split('\t');
        let (name, kind, instead) = (fields.next()?, fields.next()?, fields.next()?);
        Some((name, Known { is_native: kind == "native", instead }))
    })
}

/// What to use instead of a package of the table, or of a module of Node.js.
#[must_use]
pub fn instead(package: &str) -> Option<&'static str> {
    KNOWN.get(package).map(|known| known.instead)
}

/// The finding for a package of the table.
#[must_use]
pub fn finding(package: &str) -> Option<Finding> {
    let known = KNOWN.get(package)?;
    Some(if known.is_native { native(package) } else { node_only(package) }.instead(known.instead))
}

/// The finding for a package that needs compiled code, and that the table need not have.
#[must_use]
pub fn native(package: &str) -> Finding {
    let message = format!("{} needs compiled code of an operating system, which a browser does not run.", shown(package));
    Finding::new(Code::NativeCode, package, &message)
}

fn node_only(package: &str) -> Finding {
    Finding::new(Code::NodeOnly, package, &format!("{package} needs modules of Node.js, which a browser does not have."))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_table_is_complete_and_names_no_package_twice() {
        let mut names = HashSet::new();
        for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let fields: Vec<_> = line.split('\t').collect();
            assert!(fields.len() == 3 && ["native", "node"].contains(&fields[1]) && !fields[2].is_empty(), "{line}");
            assert!(crate::name::is_valid(fields[0]) && names.insert(fields[0]), "{line}");
        }
        assert!(lines().count() >= 80);
        let bcrypt = finding("bcrypt").expect("bcrypt");
        assert!(bcrypt.code == Code::NativeCode && bcrypt.instead.expect("an alternative").contains("bcryptjs"));
        assert_eq!(finding("express").map(|finding| finding.code), Some(Code::NodeOnly));
        assert_eq!(finding("react"), None);
        assert!(instead("fs").is_some_and(|instead| instead.starts_with("import the file")) && instead("react").is_none());
    }
}
