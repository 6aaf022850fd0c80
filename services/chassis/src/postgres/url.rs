//! The URL of a service's database, from `DATABASE_URL` and a separate password. Errors show neither of them.

use std::{path::PathBuf, str::FromStr as _};

use sqlx::postgres::PgConnectOptions;

use crate::config::{Env, Secret, has_split_password};

const INVALID: &str = "must be a URL such as postgres://user:password@host:5432/backlot";
const SPLIT_PASSWORD: &str = "has an @ after the host, likely because the password contains / ? or #: write these as %2F, %3F and %23, \
                              or set DATABASE_PASSWORD";

/// The separate password. It is not percent-encoded.
pub(super) fn password(env: &mut Env) -> Option<Secret> {
    let given: Option<Secret> =
        env.optional("DATABASE_PASSWORD", "password of the database without URL escapes, in place of one in DATABASE_URL");
    let file: Option<PathBuf> = env.optional("DATABASE_PASSWORD_FILE", "file that contains the password of the database and nothing else");
    let (None, Some(path)) = (&given, &file) else {
        if file.is_some() {
            env.fault("DATABASE_PASSWORD_FILE", "is set, but DATABASE_PASSWORD is also set; give only one of them");
        }
        return given;
    };
    match std::fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => Some(Secret::new(text.trim())),
        Ok(_) => {
            env.fault("DATABASE_PASSWORD_FILE", "is empty");
            None
        }
        Err(error) => {
            env.fault("DATABASE_PASSWORD_FILE", format!("cannot be read: {error}"));
            None
        }
    }
}

/// The URL with the password, and with the service's name appended to the name of the database.
pub(super) fn database(text: &Secret, service: Option<&str>, password: Option<&Secret>) -> Result<Secret, &'static str> {
    let text = text.expose();
    let is_split = has_split_password(text);
    let mut url = url::Url::parse(text).map_err(|_| if is_split { SPLIT_PASSWORD } else { INVALID })?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(INVALID);
    }
    if is_split {
        return Err(SPLIT_PASSWORD);
    }
    if let Some(service) = service {
        let prefix = match url.path().trim_matches('/') {
            "" => "backlot",
            name => name,
        };
        let path = format!("/{prefix}_{}", service.replace('-', "_"));
        url.set_path(&path);
    }
    if let Some(password) = password {
        if url.password().is_some() {
            return Err("has a password, but DATABASE_PASSWORD is also set; give only one of them");
        }
        // `set_password` does not encode %.
        url.set_password(Some(&password.expose().replace('%', "%25"))).map_err(|()| "must have a host, because a password is set")?;
    }
    PgConnectOptions::from_str(url.as_str()).map_err(|_| INVALID)?;
    Ok(Secret::new(url))
}
