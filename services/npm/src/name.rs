//! Names of packages.

/// The most bytes of a name.
const MAX_BYTES: usize = 214;

/// Whether a package of the registry can have the name. A name is a folder below `node_modules`, so it must not climb.
pub(crate) fn is_valid(name: &str) -> bool {
    let (scope, rest) = match name.strip_prefix('@').map(|rest| rest.split_once('/')) {
        Some(Some((scope, rest))) => (Some(scope), rest),
        Some(None) => return false,
        None => (None, name),
    };
    name.len() <= MAX_BYTES && scope.is_none_or(is_part) && is_part(rest) && !matches!(name, "node_modules" | "favicon.ico")
}

fn is_part(part: &str) -> bool {
    let is_character = |c: char| c.is_ascii_alphanumeric() || "-_.~!'()*".contains(c);
    !part.is_empty() && !part.starts_with(['.', '_']) && part.chars().all(is_character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_climb() {
        for name in ["react", "@radix-ui/react-slot", "lodash.debounce", "JSONStream", "is-odd"] {
            assert!(is_valid(name), "{name}");
        }
        for name in
            ["", ".", "..", "../a", "a/b", "@a", "@/a", "@a/", "@a/b/c", "@../b", "@a/..", ".bin", "a b", "a\\b", "ä", "node_modules"]
        {
            assert!(!is_valid(name), "{name}");
        }
        assert!(!is_valid(&"a".repeat(215)));
    }
}
