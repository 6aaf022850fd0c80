//! `docs/settings.md`, generated from the same functions as `--help`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};

use chassis::{
    config::{Env, SettingDoc},
    edge::Edge,
    identity::Caller,
    listen::Limits,
    postgres, redis,
    secret::ClusterSecret,
    server, telemetry,
};

use super::{
    OWN_DATABASES, Role,
    listen::{GRPC_LISTEN, LISTEN, METRICS_LISTEN, PREVIEW_LISTEN},
    of_role, of_up, read_download,
};

const INTRODUCTION: &str = "\
# Settings

This page lists every environment variable that Backlot reads, with its default.

<!-- This page is generated from the code. Do not edit it. `deploy/scripts/settings.sh` writes it again. -->

Backlot reads its settings from environment variables, once, at the start. If a value is wrong, the process prints every fault with the
name of the variable and exits with status 64, before it opens a port. An empty variable counts as absent. An unknown variable that begins
with `BACKLOT_` is a fault. A change of a setting needs a restart.

`backlot up` reads the settings of every role, except the addresses of the other roles and `BACKLOT_ROLE_KEYS`. Each command lists its
own settings:

```sh
target/debug/backlot up --help
target/debug/backlot agent-streaming --help
```

## How values are written

| kind of value | written as | examples |
|---|---|---|
| yes or no | `1`, `true`, `yes` or `on`; `0`, `false`, `no` or `off` | `BACKLOT_NO_DOWNLOAD=true` |
| number | a whole number without separators; only `BACKLOT_TRACE_RATIO` may have a fraction | `BACKLOT_MAX_STEPS=30`, `BACKLOT_TRACE_RATIO=0.1` |
| bytes | a number of bytes without a unit; the tables also show the size in KiB, MiB or GiB | `BACKLOT_MAX_STEP_BYTES=8388608` |
| duration | a whole number and a unit: `ms`, `s`, `m`, `h` or `d` | `300ms`, `15s`, `5m`, `12h`, `7d` |
| address | an IP address and a port; IPv6 in brackets; port 0 picks a free port | `127.0.0.1:8080`, `[::1]:8080` |
| list | values separated by commas; spaces around a value do not count | `BACKLOT_HOSTS=a.example.com,b.example.com` |
| model | provider and model, separated by a slash | `BACKLOT_MODEL=openai/gpt-5.4` |

In the column \"default\", a value in `this font` is what you would write. Other text says how the default is derived. `none` means that the
setting is absent.
";

type Names = BTreeSet<String>;

/// The groups of the page and their settings. A setting is shown in the first group that contains it.
fn groups() -> Vec<(&'static str, Names)> {
    let mut groups = vec![
        ("Addresses", addresses()),
        ("Keys and certificates of roles", names(|env| drop(ClusterSecret::read(env, Caller::Gateway)))),
        ("PostgreSQL", databases()),
        ("Redis", names(|env| drop(redis::Config::read(env)))),
        ("Logs, traces and error reports", names(|env| drop(telemetry::Config::read(env)))),
        ("Connections and requests of every listener", names(listeners)),
        ("gRPC servers", names(servers)),
    ];
    groups.extend(Role::ALL.map(|role| (role.name(), names_of(&of_role(role)))));
    groups
}

fn addresses() -> Names {
    let listeners = [LISTEN, PREVIEW_LISTEN, METRICS_LISTEN, GRPC_LISTEN, "BACKLOT_PUBLIC_URL", "BACKLOT_PREVIEW_URL"];
    listeners.into_iter().chain(Role::ALL.into_iter().filter_map(Role::url_setting)).map(str::to_owned).collect()
}

fn databases() -> Names {
    let mut found = names(|env| {
        drop(postgres::Config::read(env, "auth"));
        drop(read_download(env));
    });
    found.extend(OWN_DATABASES.map(str::to_owned));
    found
}

fn listeners(env: &mut Env) {
    Limits::read(env);
    Edge::read(env);
    server::body_timeout(env);
    server::receiving(env);
}

fn servers(env: &mut Env) {
    server::Config::read(env);
}

fn names(read: impl Fn(&mut Env)) -> Names {
    let mut env = Env::describe();
    read(&mut env);
    names_of(env.settings())
}

fn names_of(settings: &[SettingDoc]) -> Names {
    settings.iter().map(|doc| doc.name.clone()).collect()
}

/// One row: a setting and the commands that read it with this default and help text. Both may differ between roles.
struct Row {
    doc: SettingDoc,
    readers: Vec<&'static str>,
}

/// All rows, in the order in which they are read: the settings of the roles, then those that only `backlot up` reads.
fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let of_roles = Role::ALL.map(|role| (role.name(), of_role(role)));
    for (reader, doc) in
        of_roles.into_iter().chain([("up", of_up())]).flat_map(|(reader, docs)| docs.into_iter().map(move |doc| (reader, doc)))
    {
        match rows.iter_mut().find(|row| row.doc == doc) {
            Some(row) => row.readers.push(reader),
            None => rows.push(Row { doc, readers: vec![reader] }),
        }
    }
    rows
}

impl Row {
    fn read_by(&self) -> String {
        let roles: Vec<_> = self.readers.iter().copied().filter(|reader| *reader != "up").collect();
        match roles.len() {
            0 => "`backlot up`".to_owned(),
            6 => "every role".to_owned(),
            5 if !roles.contains(&Role::Gateway.name()) => "every service".to_owned(),
            _ => roles.join(", "),
        }
    }

    fn line(&self) -> String {
        let escaped = |text: &str| text.replace('|', "\\|").replace('<', "\\<");
        let default = match (&self.doc.default, self.doc.derived) {
            (Some(value), _) => format!("`{value}`{}", size(&self.doc.name, value)),
            (None, derived) => derived.map_or_else(|| "none".to_owned(), escaped),
        };
        format!("| `{}` | {default} | {} | {} |", self.doc.name, self.read_by(), escaped(self.doc.help))
    }
}

/// The size of a default of bytes in a larger unit: ` (8 MiB)`. Empty for other settings and for sizes that are no multiple of 1 KiB.
fn size(name: &str, value: &str) -> String {
    let bytes: u64 = if name.ends_with("_BYTES") { value.parse().unwrap_or_default() } else { 0 };
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = units.into_iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    unit.map(|(name, unit)| format!(" ({} {name})", bytes / unit)).unwrap_or_default()
}

/// The whole page.
fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut left = rows();
    for (title, names) in groups() {
        let (found, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(|row| names.contains(&row.doc.name));
        left = rest;
        let _ = writeln!(page, "\n## {title}\n\n| variable | default | read by | meaning |\n|---|---|---|---|");
        // All rows of one setting follow the first one.
        let first: BTreeMap<_, _> = found.iter().enumerate().rev().map(|(at, row)| (row.doc.name.clone(), at)).collect();
        let mut found: Vec<_> = found.iter().collect();
        found.sort_by_key(|row| first[&row.doc.name]);
        found.iter().for_each(|row| page.push_str(&(row.line() + "\n")));
    }
    let left: Vec<_> = left.iter().map(|row| &row.doc.name).collect();
    assert!(left.is_empty(), "no group contains {left:?}");
    page
}

#[test]
fn the_page_of_settings_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/settings.md");
    let page = page();
    #[allow(clippy::disallowed_methods, reason = "a setting of the test, not of a process")]
    if std::env::var("BACKLOT_WRITE_DOCS").is_ok() {
        fs::write(&path, &page).expect("docs/settings.md can be written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/settings.md differs from the code: run deploy/scripts/settings.sh and commit the result");
    let missing: Vec<_> = super::of_all().into_iter().map(|doc| format!("| `{}` |", doc.name)).filter(|row| !page.contains(row)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
