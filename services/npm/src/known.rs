//! Packages that cannot work in a browser, and what to use instead. The table is `data/known.tsv`.

use std::{collections::HashMap, sync::LazyLock};

use crate::finding::{Code, Finding};

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

/// The finding for a package of the table.
#[must_use]
pub fn finding(package: &str) -> Option<Finding> {
    let known = KNOWN.get(package)?;
    Some(if known.is_native { native(package) } else { node_only(package) }.instead(known.instead))
}

pub(crate) fn native(package: &str) -> Finding {
    Finding::new(Code::NativeCode, package, "The package needs compiled code of an operating system, which a browser does not run.")
}

fn node_only(package: &str) -> Finding {
    Finding::new(Code::NodeOnly, package, "The package needs modules of Node.js, which a browser does not have.")
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
    }
}
