//! The settings of shares.

use crate::config::{BoundedNumber, Env};

/// How much of a quantity one holder may have, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percent {
    pub connection: u8,
    pub address: u8,
    pub person: u8,
}

impl Default for Percent {
    fn default() -> Self {
        Self { connection: 25, address: 33, person: 25 }
    }
}

impl Percent {
    /// Reads the settings, which apply to all quantities of the process.
    pub fn read(env: &mut Env) -> Self {
        let share = |env: &mut Env, name, default, help| env.get::<BoundedNumber<u8, 1, 100>>(name, default, help).0;
        Self {
            connection: share(env, "BACKLOT_SHARE_CONNECTION", "25", "percent of slots and memory that one connection may hold"),
            address: share(env, "BACKLOT_SHARE_ADDRESS", "33", "percent of slots and memory that one address (IPv6: /64) may hold"),
            person: share(env, "BACKLOT_SHARE_PERSON", "25", "percent of slots and memory that one person may hold"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_from_1_to_100() {
        for (value, is_valid) in [("1", true), ("100", true), ("0", false), ("101", false)] {
            let mut env = Env::of([("BACKLOT_SHARE_PERSON", value)]);
            Percent::read(&mut env);
            assert_eq!(env.check().is_ok(), is_valid, "{value}");
        }
    }
}
