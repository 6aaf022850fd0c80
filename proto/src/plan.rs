//! What a plan allows, where more than one process has to know it.

use crate::auth::Plan;

/// Steps of one change set.
pub const FILES_PER_SAVE: usize = 200;
/// Bytes of a step beside its content: paths, ETags, and what the encoding adds.
const STEP_BYTES: usize = 8 * 1024;

/// Bytes of one file.
#[must_use]
pub fn file_bytes(plan: Plan) -> u32 {
    match plan {
        Plan::Unspecified | Plan::Free => 51_200,
        Plan::Pro => 102_400,
        Plan::Team | Plan::Enterprise => 512_000,
    }
}

/// Bytes of the largest message that a save within the plan can have.
#[must_use]
pub fn save_bytes(plan: Plan) -> usize {
    FILES_PER_SAVE * (usize::try_from(file_bytes(plan)).unwrap_or(usize::MAX / FILES_PER_SAVE) + STEP_BYTES)
}
