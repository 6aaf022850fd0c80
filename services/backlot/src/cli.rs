//! The commands and their exit codes: 0 after an orderly end, 64 for an invalid configuration, 1 for other errors.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use chassis::{
    config::{EXIT_USAGE, Env, Faults},
    error::chain,
    telemetry,
};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::{
    admin, agents, certs, health,
    process::{self, Process},
    role::Role,
    settings, token, up, vendor,
};

/// The self-hosted backend for AI app builders.
///
/// `backlot up` runs the whole cluster in one process. In a cluster of many processes each role has its own command.
#[derive(Debug, Parser)]
#[command(name = "backlot", version, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole cluster in one process, with a private PostgreSQL unless DATABASE_URL is set.
    Up,
    /// Run the gateway: HTTP, SSE and previews for browsers.
    Gateway,
    /// Run auth: accounts, sessions and access tokens.
    Auth,
    /// Run agent-streaming: turns and their events.
    AgentStreaming,
    /// Run project-storage: files, history and messages.
    ProjectStorage,
    /// Run rate-limit: policies and counters.
    RateLimit,
    /// Run compile: pages and modules of previews.
    Compile,
    /// Print a caller token for an operator, valid for a minute, to be sent as `x-backlot-caller`.
    Token {
        /// The service that accepts the token.
        #[arg(long = "for", value_name = "SERVICE", value_parser = token::service)]
        service: Role,
    },
    /// Print the keys of one role as one line, for its BACKLOT_ROLE_KEYS, which replaces the cluster secret.
    Keys {
        /// The role that gets the keys.
        role: Role,
    },
    /// Make, renew and check the certificates of the roles, for BACKLOT_TLS.
    #[command(subcommand)]
    Certs(certs::Command),
    /// Manage accounts and sessions, and read the audit log.
    Admin(admin::Arguments),
    /// Explain which agent a request gets, and replay the selection of a turn.
    #[command(subcommand)]
    Agents(agents::Command),
    /// List the skills that agents can read.
    #[command(subcommand)]
    Skills(agents::SkillsCommand),
    /// Keep npm packages for previews on machines without a network.
    #[command(subcommand)]
    Vendor(vendor::Command),
    /// Exit with 0 if a role on this machine is ready to serve, else with 1.
    Health {
        /// The role to ask. Its address is read from its listen setting.
        #[arg(default_value = "gateway")]
        role: Role,
    },
}

/// Runs the command of the process's arguments.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match Cli::from_arg_matches(&command().get_matches()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    chassis::install_crypto();
    // Every connection needs a file descriptor, and the soft limit of many systems is 1,024. It stays if it cannot be raised.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    match dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let json = is_json(&mut Env::process());
            if let Some(faults) = error.downcast_ref::<Faults>() {
                faults.to_string().lines().for_each(|fault| eprintln!("{}", error_line(fault, json)));
                ExitCode::from(EXIT_USAGE)
            } else {
                let text = chain(error.as_ref());
                eprintln!("{}", if json { error_line(&text, json) } else { format!("backlot: {text}") });
                ExitCode::FAILURE
            }
        }
    }
}

/// Whether the log format is JSON. Other faults of the environment are ignored.
fn is_json(env: &mut Env) -> bool {
    telemetry::Config::read(env).log_format == telemetry::LogFormat::Json
}

/// The line for an error that ends the process, in the format of the log, which may not have started yet.
fn error_line(text: &str, json: bool) -> String {
    if json { telemetry::log::json_line(tracing::Level::ERROR, "backlot", text) } else { text.to_owned() }
}

/// The commands, with their settings below the help.
fn command() -> clap::Command {
    let mut command = Cli::command().after_help(settings::help(&settings::of_up()));
    let documented = Role::ALL.map(|role| (role.name(), settings::of_role(role)));
    for (name, settings) in documented.into_iter().chain([
        ("up", settings::of_up()),
        ("token", token::settings()),
        ("keys", token::settings()),
        ("certs", certs::settings()),
        ("admin", admin::settings()),
        ("agents", agents::settings()),
        ("skills", agents::skill_settings()),
        ("vendor", vendor::settings()),
        ("health", health::settings()),
    ]) {
        command = command.mut_subcommand(name, |sub| sub.after_help(settings::help(&settings)));
    }
    command
}

fn dispatch(command: Command) -> anyhow::Result<()> {
    let env = Env::process();
    let role = match command {
        Command::Up => return up::command(env),
        Command::Token { service } => {
            return writeln!(io::stdout(), "{}", token::operator(env, service)?).context("cannot write the token");
        }
        Command::Keys { role } => {
            return writeln!(io::stdout(), "{}", token::keys(env, role)?).context("cannot write the keys");
        }
        Command::Certs(command) => return certs::command(env, command),
        Command::Admin(arguments) => return admin::command(env, arguments),
        Command::Agents(command) => return agents::command(env, command),
        Command::Skills(command) => return agents::skills(env, command),
        Command::Vendor(command) => return vendor::command(env, command),
        Command::Health { role } => return health::command(env, role),
        Command::Gateway => Role::Gateway,
        Command::Auth => Role::Auth,
        Command::AgentStreaming => Role::AgentStreaming,
        Command::ProjectStorage => Role::ProjectStorage,
        Command::RateLimit => Role::RateLimit,
        Command::Compile => Role::Compile,
    };
    serve(env, role)
}

/// Runs one role until a signal stops it.
fn serve(mut env: Env, role: Role) -> anyhow::Result<()> {
    let (process, telemetry) = (Process::read(&mut env, role), telemetry::Config::read(&mut env));
    env.known_elsewhere(&settings::of_all());
    env.reject_unknown();
    env.check()?;
    process::in_runtime(&telemetry, role.name(), process.serve())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_lists_its_settings() {
        command().debug_assert();
        for (name, setting) in [
            ("up", "BACKLOT_GRPC_LISTEN [default: 127.0.0.1:9090]"),
            ("gateway", "BACKLOT_PREVIEW_LISTEN [default: 127.0.0.1:8081]"),
            ("gateway", "BACKLOT_METRICS_LISTEN [default: 127.0.0.1:9464]"),
            ("auth", "DATABASE_URL"),
            ("agent-streaming", "BACKLOT_GRPC_LISTEN [default: 127.0.0.1:9091]"),
            ("project-storage", "BACKLOT_GRPC_LISTEN [default: 127.0.0.1:9092]"),
            ("rate-limit", "REDIS_URL"),
            ("compile", "BACKLOT_COMPILER"),
            ("token", "BACKLOT_CLUSTER_SECRET"),
            ("keys", "BACKLOT_CLUSTER_SECRET"),
            ("project-storage", "BACKLOT_ROLE_KEYS"),
            ("auth", "BACKLOT_TLS [default: off]"),
            ("certs", "BACKLOT_TLS_DIR"),
            ("admin", "BACKLOT_AUTH_URL"),
            ("vendor", "BACKLOT_COMPILE_URL"),
            ("health", "BACKLOT_LISTEN"),
        ] {
            let mut command = command();
            let help = command.find_subcommand_mut(name).expect(name).render_long_help().to_string();
            assert!(help.contains("Settings (environment variables)") && help.contains(setting), "{name}:\n{help}");
        }
    }

    #[test]
    fn the_error_line_has_the_format_of_the_log() {
        for (format, json) in [("json", true), ("pretty", false), ("loud", false)] {
            assert_eq!(is_json(&mut Env::of([("BACKLOT_LOG_FORMAT", format), ("BACKLOT_LOG", "inf")])), json);
        }
        let line: serde_json::Value = serde_json::from_str(&error_line("BACKLOT_LISTEN: must \"be\" an address", true)).expect("JSON");
        assert_eq!((&line["level"], &line["message"]), (&"ERROR".into(), &"BACKLOT_LISTEN: must \"be\" an address".into()));
        assert_eq!(error_line("x", false), "x");
    }

    #[test]
    fn the_help_of_up_omits_the_addresses_of_roles() {
        let help = settings::help(&settings::of_up());
        for role in Role::SERVICES {
            let name = role.url_setting().expect("a service");
            assert!(!help.contains(name), "{name}");
            assert!(settings::of_all().iter().any(|doc| doc.name == name), "no role reads {name}");
        }
    }
}
