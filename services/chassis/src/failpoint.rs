//! Failpoints: a process can be made to fail before and after every statement ([`crate::postgres::query`]) and every call of another
//! service ([`crate::client`]). They are compiled only with the feature `failpoints`.
//!
//! `FAILPOINTS` configures them when the process starts, in the syntax of the crate `fail`: `claim-turns/after=1*return(abort)`. The
//! name of a statement's failpoint is its summary with `-` for spaces. The name of a call's failpoint is `rpc/` and the method, such as
//! `rpc/CommitTurn/before`. Modes:
//!
//! - `abort`: the process aborts.
//! - `error`, only before: the operation is not run, and the caller gets the error of a broken connection.
//! - `timeout`, only after: the operation was run, and the caller gets a timeout.
//!
//! A failpoint that fires writes a line to standard error, so that the harness knows that the fault happened.

use std::io;

/// Evaluates the failpoint before an operation.
///
/// # Errors
/// The failpoint fired with the mode `error`.
pub(crate) fn before(operation: &str) -> io::Result<()> {
    evaluate(operation, "before", "error", io::ErrorKind::ConnectionReset)
}

/// Evaluates the failpoint after an operation that succeeded.
///
/// # Errors
/// The failpoint fired with the mode `timeout`.
pub(crate) fn after(operation: &str) -> io::Result<()> {
    evaluate(operation, "after", "timeout", io::ErrorKind::TimedOut)
}

#[cfg(not(feature = "failpoints"))]
#[inline]
#[allow(clippy::unnecessary_wraps, reason = "the signature of the variant with the feature")]
fn evaluate(_operation: &str, _side: &str, _mode: &str, _kind: io::ErrorKind) -> io::Result<()> {
    Ok(())
}

#[cfg(feature = "failpoints")]
fn evaluate(operation: &str, side: &str, mode: &str, kind: io::ErrorKind) -> io::Result<()> {
    use std::{io::Write as _, sync::LazyLock};

    /// Lives as long as the process.
    static SCENARIO: LazyLock<()> = LazyLock::new(|| std::mem::forget(fail::FailScenario::setup()));

    LazyLock::force(&SCENARIO);
    let name = format!("{}/{side}", operation.replace(' ', "-"));
    let Some(configured) = fail::eval(&name, |mode| mode.unwrap_or_default()) else { return Ok(()) };
    // A single write, so that no other line gets into this one. If standard error is closed, the harness has ended.
    let _ = io::stderr().write_all(format!("failpoint fired: {name} {configured}\n").as_bytes());
    match configured.as_str() {
        "abort" => std::process::abort(),
        configured if configured == mode => Err(io::Error::new(kind, format!("failpoint {name}"))),
        other => panic!("failpoint {name} does not support the mode {other:?}"),
    }
}

#[cfg(all(test, feature = "failpoints"))]
mod tests {
    use super::*;

    #[test]
    fn a_failpoint_fires_as_configured() {
        // Sets up the scenario, which drops earlier configurations.
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
