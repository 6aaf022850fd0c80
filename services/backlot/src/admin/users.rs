//! `backlot admin users`.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result, ensure};
use chassis::context::Context;
use clap::Subcommand;
use proto::auth::{
    Account, AccountKind, CreateUserRequest, DeleteUserRequest, FindUserRequest, ListUserSessionsRequest, ListUsersRequest, Plan,
    ResetSecondFactorRequest, SetUserDisabledRequest, SetUserPlanRequest, SignInMethods, User,
};
use serde_json::json;

use super::{
    Admin,
    print::{self, Listing, json_line, table, time},
};
use crate::operator::refusal;

/// Rows of one request.
const PAGE: i32 = 200;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create an account, also if sign-up is closed. It prints a link, which is shown only once, and with which the owner sets a password.
    Create {
        /// The e-mail address.
        email: String,
        /// The plan: free, pro, team or enterprise.
        #[arg(long, default_value = "free", value_parser = plan)]
        plan: Plan,
        /// The name that others see. By default it is the part of the address before the @.
        #[arg(long, value_name = "NAME", default_value = "")]
        name: String,
        /// Read the password from the first line of the standard input.
        #[arg(long)]
        password_stdin: bool,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// List the accounts in the order of their creation.
    List {
        /// Only accounts whose address or name contains this text, without regard to case.
        #[arg(long, value_name = "TEXT", default_value = "")]
        query: String,
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Show an account.
    Show {
        /// The e-mail address or the id of the account.
        user: String,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Disable an account: nobody can sign in to it, and its sessions end.
    Disable {
        /// The e-mail address or the id of the account.
        user: String,
    },
    /// Enable a disabled account. Its sessions stay ended.
    Enable {
        /// The e-mail address or the id of the account.
        user: String,
    },
    /// Delete an account for ever, with its projects. It cannot be undone.
    Delete {
        /// The e-mail address or the id of the account.
        user: String,
        /// The e-mail address of the account once more, or the id of a service account: the confirmation that this account is meant.
        #[arg(long, value_name = "E-MAIL|ID")]
        confirm: String,
    },
    /// Remove the second factors of an account whose owner has lost them. Make sure before that it is the owner who asks.
    ResetSecondFactor {
        /// The e-mail address or the id of the account.
        user: String,
    },
    /// Change the plan of an account.
    Plan {
        /// The e-mail address or the id of the account.
        user: String,
        /// free, pro, team or enterprise.
        #[arg(value_parser = plan)]
        plan: Plan,
    },
}

impl Command {
    pub(super) fn changes(&self) -> bool {
        !matches!(self, Self::List { .. } | Self::Show { .. })
    }
}

fn plan(name: &str) -> Result<Plan, String> {
    Plan::from_name(name).ok_or_else(|| "must be free, pro, team or enterprise".to_owned())
}

pub(super) async fn run(admin: Admin, command: Command) -> Result<()> {
    match command {
        Command::Create { email, plan, name, password_stdin, json } => {
            let password = if password_stdin { password(io::stdin().lock())? } else { String::new() };
            let operator = admin.operator.clone();
            let request = CreateUserRequest { email, password, display_name: name, plan: plan.into(), operator };
            create(admin, request, json).await
        }
        Command::List { query, json } => list(admin, query, json).await,
        Command::Show { user, json } => show(admin, user, json).await,
        Command::Disable { user } => set_disabled(admin, user, true).await,
        Command::Enable { user } => set_disabled(admin, user, false).await,
        Command::Delete { user, confirm } => delete(admin, user, &confirm).await,
        Command::ResetSecondFactor { user } => reset_second_factor(admin, user).await,
        Command::Plan { user, plan } => set_plan(admin, user, plan).await,
    }
}

/// The first line without its end.
fn password(mut input: impl io::BufRead) -> Result<String> {
    let mut line = String::new();
    input.read_line(&mut line).context("the password cannot be read from the standard input")?;
    let password = line.strip_suffix('\n').map_or(line.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    ensure!(!password.is_empty(), "the standard input has no password");
    Ok(password.to_owned())
}

async fn create(mut admin: Admin, request: CreateUserRequest, as_json: bool) -> Result<()> {
    let answer = admin.client.create_user(Context::background().request(request)).await.map_err(refusal)?.into_inner();
    let account = answer.account.unwrap_or_default();
    let mut out = io::stdout().lock();
    if as_json {
        let mut value = json!({ "account": account });
        if !answer.password_url.is_empty() {
            value["passwordUrl"] = answer.password_url.into();
            value["passwordExpireTime"] = json!(answer.password_expire_time);
        }
        return writeln!(out, "{}", json_line(&value)?).context("cannot write");
    }
    let user = account.user.unwrap_or_default();
    writeln!(out, "{} created with the id {}", print::text(&user.email), user.id)?;
    if !answer.password_url.is_empty() {
        writeln!(out, "the owner sets a password with this link, once, until {}", time(answer.password_expire_time.as_ref()))?;
        writeln!(out, "link: {}", answer.password_url)?;
    }
    Ok(())
}

async fn list(mut admin: Admin, query: String, as_json: bool) -> Result<()> {
    let mut listing = Listing::new(["ID", "E-MAIL", "KIND", "PLAN", "STATE", "CREATED"], as_json);
    let mut page_token = String::new();
    loop {
        let request = ListUsersRequest { query: query.clone(), page_size: PAGE, page_token };
        let page = admin.client.list_users(Context::background().request(request)).await.map_err(refusal)?.into_inner();
        for account in &page.accounts {
            listing.add(account, row(account))?;
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return listing.finish();
        }
    }
}

fn row(account: &Account) -> [String; 6] {
    let user = account.user.clone().unwrap_or_default();
    let created = time(user.create_time.as_ref());
    let email = print::cell(&user.email);
    [user.id.clone(), email, kind(account).to_owned(), user.plan().name().to_owned(), state(account).to_owned(), created]
}

fn kind(account: &Account) -> &'static str {
    if account.kind() == AccountKind::Service { "service" } else { "person" }
}

/// How an operator recognises an account: its address, or the id of a service account.
fn address(user: &User) -> String {
    print::text(if user.email.is_empty() { &user.id } else { &user.email })
}

fn state(account: &Account) -> &'static str {
    if account.disable_time.is_some() { "disabled" } else { "enabled" }
}

async fn show(mut admin: Admin, user: String, as_json: bool) -> Result<()> {
    let request = Context::background().request(FindUserRequest { user });
    let found = admin.client.find_user(request).await.map_err(refusal)?.into_inner();
    let account = found.account.unwrap_or_default();
    if as_json {
        let mut value = json!(account);
        value["signInMethods"] = json!(found.sign_in_methods);
        return writeln!(io::stdout(), "{}", json_line(&value)?).context("cannot write");
    }
    let user = account.user.clone().unwrap_or_default();
    let request = Context::background().request(ListUserSessionsRequest { user: user.id.clone() });
    let sessions = admin.client.list_user_sessions(request).await.map_err(refusal)?.into_inner().sessions;
    let rows = [
        ("id", user.id.clone()),
        ("e-mail", print::cell(&user.email)),
        ("kind", kind(&account).to_owned()),
        ("owner", print::cell(&account.owner_id)),
        ("name", print::text(&user.display_name)),
        ("plan", user.plan().name().to_owned()),
        ("state", state(&account).to_owned()),
        ("disabled", time(account.disable_time.as_ref())),
        ("created", time(user.create_time.as_ref())),
        ("verified", time(account.verify_time.as_ref())),
        ("sessions", sessions.len().to_string()),
    ];
    let rows = rows.into_iter().chain(methods(found.sign_in_methods.as_ref()));
    let rows: Vec<_> = rows.map(|(name, value)| [name.to_owned(), value]).collect();
    write!(io::stdout(), "{}", table(&rows)).context("cannot write")
}

/// The rows about what an account signs in with. A replica of auth of the release before does not say it.
fn methods(methods: Option<&SignInMethods>) -> [(&'static str, String); 5] {
    let names = ["password", "authenticator app", "recovery codes", "passkeys", "linked accounts"];
    let Some(methods) = methods else { return names.map(|name| (name, "unknown".to_owned())) };
    let passkeys = methods.passkeys.iter().map(|passkey| format!("{}, added {}", passkey.display_name, time(passkey.create_time.as_ref())));
    let linked = methods.identities.iter().map(|identity| {
        let label = if identity.label.is_empty() { "without a name" } else { identity.label.as_str() };
        format!("{} ({label}), linked {}", identity.provider, time(identity.create_time.as_ref()))
    });
    let values = [
        if methods.password { "yes" } else { "no" }.to_owned(),
        time(methods.totp_create_time.as_ref()),
        methods.recovery_codes.to_string(),
        print::cell(&passkeys.collect::<Vec<_>>().join("; ")),
        print::cell(&linked.collect::<Vec<_>>().join("; ")),
    ];
    let mut values = values.into_iter();
    names.map(|name| (name, values.next().unwrap_or_default()))
}

async fn set_disabled(mut admin: Admin, user: String, disabled: bool) -> Result<()> {
    let request = SetUserDisabledRequest { user, disabled, operator: admin.operator };
    let answer = admin.client.set_user_disabled(Context::background().request(request)).await.map_err(refusal)?.into_inner();
    let account = answer.account.unwrap_or_default();
    let email = address(&account.user.clone().unwrap_or_default());
    let ended = if disabled { format!("; sessions ended: {}", answer.ended_sessions) } else { String::new() };
    writeln!(io::stdout(), "{email} is {}{ended}", state(&account)).context("cannot write")
}

async fn delete(mut admin: Admin, user: String, confirm: &str) -> Result<()> {
    let found = admin.client.find_user(Context::background().request(FindUserRequest { user })).await.map_err(refusal)?.into_inner();
    let user = found.account.unwrap_or_default().user.unwrap_or_default();
    let expected = address(&user);
    ensure!(expected.eq_ignore_ascii_case(&print::text(confirm.trim())), "--confirm must be {expected}");
    let request = DeleteUserRequest { user: user.id, operator: admin.operator };
    let answer = admin.client.delete_user(Context::background().request(request)).await.map_err(refusal)?.into_inner();
    let email = address(&answer.account.unwrap_or_default().user.unwrap_or_default());
    writeln!(io::stdout(), "{email} is deleted; sessions ended: {}", answer.ended_sessions).context("cannot write")
}

async fn reset_second_factor(mut admin: Admin, user: String) -> Result<()> {
    let request = ResetSecondFactorRequest { user: user.clone(), operator: admin.operator };
    let answer = admin.client.reset_second_factor(Context::background().request(request)).await.map_err(refusal)?.into_inner();
    let outcome = if answer.was_removed { "the second factors are removed" } else { "there was no second factor" };
    writeln!(io::stdout(), "{}: {outcome}", print::text(&user)).context("cannot write")
}

async fn set_plan(mut admin: Admin, user: String, plan: Plan) -> Result<()> {
    let request = SetUserPlanRequest { user, plan: plan.into(), operator: admin.operator };
    let answer = admin.client.set_user_plan(Context::background().request(request)).await.map_err(refusal)?.into_inner();
    let user = answer.account.unwrap_or_default().user.unwrap_or_default();
    writeln!(io::stdout(), "{} has the plan {}", address(&user), user.plan().name()).context("cannot write")
}

#[cfg(test)]
mod tests {
    use chassis::clock::Timestamp;
    use proto::auth::{Identity, Passkey};

    use super::*;

    #[test]
    fn a_password_is_the_first_line_as_it_is() {
        for (input, read) in [("a b \n", "a b "), ("a b", "a b"), ("a\r\nmore\n", "a"), (" \n", " ")] {
            assert_eq!(password(input.as_bytes()).expect("a password"), read, "{input:?}");
        }
        for input in ["", "\n", "\r\n"] {
            assert!(password(input.as_bytes()).is_err(), "{input:?}");
        }
    }

    #[test]
    fn what_an_account_signs_in_with_is_listed() {
        let shown = |given: Option<&SignInMethods>| methods(given).map(|(_, value)| value);
        assert_eq!(shown(None), ["unknown"; 5]);
        assert_eq!(shown(Some(&SignInMethods::default())), ["no", "-", "0", "-", "-"]);
        let start = || Some(Timestamp { seconds: 0, nanos: 0 });
        let passkey = |name: &str| Passkey { display_name: name.to_owned(), create_time: start(), ..Passkey::default() };
        let linked =
            |label: &str| Identity { provider: "github".into(), label: label.to_owned(), create_time: start(), ..Identity::default() };
        let all = SignInMethods {
            password: true,
            totp_create_time: start(),
            recovery_codes: 9,
            passkeys: vec![passkey("laptop"), passkey("a\u{1b}b")],
            identities: vec![linked("ada"), linked("")],
        };
        let at = "1970-01-01T00:00:00+00:00";
        let expected = [
            "yes".to_owned(),
            at.to_owned(),
            "9".to_owned(),
            format!(r"laptop, added {at}; a\u{{1b}}b, added {at}"),
            format!("github (ada), linked {at}; github (without a name), linked {at}"),
        ];
        assert_eq!(shown(Some(&all)), expected);
    }

    #[test]
    fn a_plan_has_a_name() {
        assert_eq!(plan("team"), Ok(Plan::Team));
        assert!(plan("gold").is_err() && plan("").is_err());
    }
}
