//! The plan of an account: its name in access tokens and in the database, and the limits that more than one service applies.

use serde_json::{Map, Value};

use crate::auth::Plan;

/// The private claim of an access token that names the plan.
const CLAIM: &str = "plan";

impl Plan {
    /// `free`, `pro`, `team` or `enterprise`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified | Self::Free => "free",
            Self::Pro => "pro",
            Self::Team => "team",
            Self::Enterprise => "enterprise",
        }
    }

    /// The plan with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Free, Self::Pro, Self::Team, Self::Enterprise].into_iter().find(|plan| plan.name() == name)
    }

    /// The plan that an access token names. An unknown plan, which a newer release may have added, has the limits of `free`.
    #[must_use]
    pub fn from_claims(claims: &Map<String, Value>) -> Self {
        claims.get(CLAIM).and_then(Value::as_str).and_then(Self::from_name).unwrap_or(Self::Free)
    }
}

/// The private claims of an access token of this plan.
impl From<Plan> for Map<String, Value> {
    fn from(plan: Plan) -> Self {
        Self::from_iter([(CLAIM.to_owned(), plan.name().into())])
    }
}

/// The most changes of one change set.
pub const FILES_PER_SAVE: usize = 200;
/// Bytes of a change besides its content: paths, ETags and the overhead of the encoding.
const CHANGE_OVERHEAD_BYTES: usize = 8 * 1024;

const MIB: u32 = 1024 * 1024;

/// The most bytes of a file that a model writes or a form saves.
#[must_use]
pub fn file_bytes(plan: Plan) -> u32 {
    match plan {
        Plan::Unspecified | Plan::Free => 51_200,
        Plan::Pro => 102_400,
        Plan::Team | Plan::Enterprise => 512_000,
    }
}

/// The most bytes of a text file of any plan. An answer with many files leaves out the content of a larger file.
pub const INLINE_BYTES: u32 = 512_000;

/// The most bytes of an asset: a file that came by upload, import or template.
#[must_use]
pub fn asset_bytes(plan: Plan) -> u32 {
    match plan {
        Plan::Unspecified | Plan::Free => 5 * MIB,
        Plan::Pro | Plan::Team | Plan::Enterprise => 10 * MIB,
    }
}

/// The most files of a project.
#[must_use]
pub fn project_files(plan: Plan) -> u32 {
    match plan {
        Plan::Unspecified | Plan::Free => 2000,
        Plan::Pro => 5000,
        Plan::Team | Plan::Enterprise => 10_000,
    }
}

/// The most bytes of all files of a project together.
#[must_use]
pub fn project_bytes(plan: Plan) -> u32 {
    match plan {
        Plan::Unspecified | Plan::Free => 50 * MIB,
        Plan::Pro => 100 * MIB,
        Plan::Team | Plan::Enterprise => 250 * MIB,
    }
}

/// The most entries of one folder.
#[must_use]
pub fn folder_entries(plan: Plan) -> u32 {
    match plan {
        Plan::Unspecified | Plan::Free => 1000,
        Plan::Pro | Plan::Team | Plan::Enterprise => 5000,
    }
}

/// The bytes of the largest save message that the plan allows.
#[must_use]
pub fn save_bytes(plan: Plan) -> usize {
    FILES_PER_SAVE * (usize::try_from(file_bytes(plan)).unwrap_or(usize::MAX / FILES_PER_SAVE) + CHANGE_OVERHEAD_BYTES)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_plan_round_trips_through_a_token() {
        for plan in [Plan::Free, Plan::Pro, Plan::Team, Plan::Enterprise] {
            assert_eq!(Plan::from_claims(&plan.into()), plan);
        }
    }

    #[test]
    fn an_unknown_plan_is_free() {
        for claims in [json!({}), json!({"plan": "galaxy"}), json!({"plan": 7}), json!({"plan": null})] {
            assert_eq!(Plan::from_claims(claims.as_object().expect("an object")), Plan::Free, "{claims}");
        }
    }
}
