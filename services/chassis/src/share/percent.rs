//! The settings of all shares.

use crate::config::{Env, Within};

/// What a single holder may have of a quantity, in percent of the whole.
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
    /// Reads the three settings, which hold for every quantity of the process.
    pub fn read(env: &mut Env) -> Self {
        let share = |env: &mut Env, name, default, help| env.get::<Within<u8, 1, 100>>(name, default, help).0;
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
    fn settings_are_percents() {
        for (value, good) in [("1", true), ("100", true), ("0", false), ("101", false)] {
            let mut env = Env::of([("BACKLOT_SHARE_PERSON", value)]);
            Percent::read(&mut env);
            assert_eq!(env.check().is_ok(), good, "{value}");
        }
    }
}
