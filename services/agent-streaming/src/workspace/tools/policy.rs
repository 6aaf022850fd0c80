//! Which tools a turn has: those of its agent that its mode and the operator allow.

use chassis::seeded_bug;

use super::catalogue::{NAMES, READ_SKILL};
use crate::turn::mode::Mode;

/// The tools that change files.
pub(crate) const WRITERS: [&str; 4] = ["write_file", "edit_file", "delete_file", "rename_file"];

/// The tools of a turn, in the order of the catalogue.
#[must_use]
pub(crate) fn of_turn(agent: &[String], mode: Mode, denied: &[String]) -> Vec<String> {
    let may_write = mode.may_write() || seeded_bug::is("write-in-an-answer");
    let of_mode = agent.iter().map(String::as_str).filter(|tool| may_write || !WRITERS.contains(tool));
    of_mode.chain([READ_SKILL]).filter(|tool| denied.iter().all(|denied| denied != tool)).map(str::to_owned).collect()
}

/// Checks the names of tools that an operator denies.
///
/// # Errors
/// A name is not that of a tool.
pub(crate) fn check_denied(denied: &[String]) -> Result<(), String> {
    let unknown = denied.iter().find(|name| !NAMES.contains(&name.as_str()) && *name != READ_SKILL);
    match unknown {
        Some(name) => Err(format!("has no tool {name:?}; there are {}, {READ_SKILL}", NAMES.join(", "))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_turn_that_builds_has_tools_that_write() {
        let all = NAMES.map(str::to_owned);
        assert_eq!(of_turn(&all, Mode::Build, &[])[..8], NAMES);
        for mode in [Mode::Ask, Mode::Plan] {
            assert_eq!(of_turn(&all, mode, &[]), ["list_files", "read_file", "search", "check", READ_SKILL]);
            assert_eq!(of_turn(&all[2..4], mode, &[]), ["search", READ_SKILL]);
        }
        assert!(WRITERS.iter().all(|tool| NAMES.contains(tool)));
    }

    #[test]
    fn the_operator_denies_tools() {
        let all = NAMES.map(str::to_owned);
        let denied = ["delete_file", "check", READ_SKILL].map(str::to_owned);
        assert_eq!(of_turn(&all, Mode::Build, &denied), ["list_files", "read_file", "search", "write_file", "edit_file", "rename_file"]);
        assert_eq!(check_denied(&denied), Ok(()));
        assert!(check_denied(&["bash".to_owned()]).is_err_and(|problem| problem.contains("\"bash\"")));
    }
}
