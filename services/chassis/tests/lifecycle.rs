//! Shutdown signals, sent to a process of their own.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
};

use chassis::lifecycle;

#[test]
fn the_first_signal_drains_and_the_second_exits() {
    for (first, second) in [("-TERM", "-INT"), ("-INT", "-TERM"), ("-HUP", "-HUP")] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "helper_service", "--ignored", "--nocapture"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let signal = |name: &str| assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
        assert!(lines.any(|line| line.contains("ready")));
        signal(first);
        assert!(lines.any(|line| line.contains("draining")));
        signal(second);
        assert_eq!(child.wait().unwrap().code(), Some(lifecycle::EXIT_HARD), "{first} {second}");
    }
}

/// A service that never finishes its drain.
#[tokio::test]
#[ignore = "run by another test"]
async fn helper_service() {
    let shutdown = lifecycle::shutdown_on_signal().unwrap();
    writeln!(std::io::stdout(), "ready").unwrap();
    shutdown.cancelled().await;
    writeln!(std::io::stdout(), "draining").unwrap();
    std::future::pending::<()>().await;
}
