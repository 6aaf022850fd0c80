//! Places where a process can be made to fail: before and after every statement ([`crate::postgres::query`]) and every call of
//! another service ([`crate::client`]). Without the feature `failpoints` there are none.
//!
//! `FAILPOINTS` arms them when the process starts, in the words of the crate `fail`: `claim-turns/after=1*return(abort)`. A
//! statement's place is its summary with `-` for spaces, a call's is `rpc/` and the method, as in `rpc/CommitTurn/before`. Modes:
//!
//! - `abort`: the process ends there and then.
//! - `error`, before only: what was to be done is not done, and the caller is told of a broken connection.
//! - `timeout`, after only: it was done, and the caller is told that no answer came.
//!
//! Each firing is a line on standard error, so that a harness knows that its fault really happened.

use std::io;

/// A place is about to be passed.
///
/// # Errors
/// What the place is armed with.
pub(crate) fn before(place: &str) -> io::Result<()> {
    pass(place, "before", "error", io::ErrorKind::ConnectionReset)
}

/// A place was passed, and what was to be done there is done.
///
/// # Errors
/// What the place is armed with.
pub(crate) fn after(place: &str) -> io::Result<()> {
    pass(place, "after", "timeout", io::ErrorKind::TimedOut)
}

#[cfg(not(feature = "failpoints"))]
#[inline]
#[allow(clippy::unnecessary_wraps, reason = "as with the feature")]
fn pass(_place: &str, _side: &str, _mode: &str, _kind: io::ErrorKind) -> io::Result<()> {
    Ok(())
}

#[cfg(feature = "failpoints")]
fn pass(place: &str, side: &str, mode: &str, kind: io::ErrorKind) -> io::Result<()> {
    use std::{io::Write as _, sync::LazyLock};

    /// Armed for as long as the process lives.
    static SCENARIO: LazyLock<()> = LazyLock::new(|| std::mem::forget(fail::FailScenario::setup()));

    LazyLock::force(&SCENARIO);
    let name = format!("{}/{side}", place.replace(' ', "-"));
    let Some(armed) = fail::eval(&name, |mode| mode.unwrap_or_default()) else { return Ok(()) };
    // One write, so that the lines of others do not get between; if standard error is gone, so is the harness.
    let _ = io::stderr().write_all(format!("failpoint fired: {name} {armed}\n").as_bytes());
    match armed.as_str() {
        "abort" => std::process::abort(),
        word if word == mode => Err(io::Error::new(kind, format!("failpoint {name}"))),
        word => panic!("failpoint {name}: there is no mode {word:?} here"),
    }
}

#[cfg(all(test, feature = "failpoints"))]
mod tests {
    use super::*;

    #[test]
    fn an_armed_place_fails_once_in_its_own_way() {
        // Sets the scenario up, which forgets what was armed before it.
        assert!(before("insert nothing").is_ok());
        fail::cfg("insert-nothing/before", "1*return(error)").unwrap();
        fail::cfg("rpc/Nothing/after", "1*off->1*return(timeout)").unwrap();
        assert_eq!(before("insert nothing").unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert!(before("insert nothing").is_ok());
        assert!(after("rpc/Nothing").is_ok());
        assert_eq!(after("rpc/Nothing").unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(after("rpc/Nothing").is_ok());
    }
}
