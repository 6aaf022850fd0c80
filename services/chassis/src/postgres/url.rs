//! Where a service's database is, as `DATABASE_URL` and a password beside it say. No text of either is ever shown.

use std::{path::PathBuf, str::FromStr as _};

use sqlx::postgres::PgConnectOptions;

use crate::config::{Env, Secret, has_split_password};

const MUST: &str = "must be a URL such as postgres://user:password@host:5432/backlot";
const SIGNS: &str = "has an @ behind the host, as a password with / ? or # in it leaves: write these signs as %2F, %3F and %23, or give \
                     the password as DATABASE_PASSWORD";

/// The password that is given beside the URL, as it is: no sign of it means anything.
pub(super) fn password(env: &mut Env) -> Option<Secret> {
    let given: Option<Secret> =
        env.optional("DATABASE_PASSWORD", "password of the database without URL escapes, in place of one in DATABASE_URL");
    let file: Option<PathBuf> = env.optional("DATABASE_PASSWORD_FILE", "file that contains the password of the database and nothing else");
    let (None, Some(path)) = (&given, &file) else {
        if file.is_some() {
            env.fault("DATABASE_PASSWORD_FILE", "is set although DATABASE_PASSWORD is: give one of them");
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

/// The URL with the service's name added to the database's, and with the password.
pub(super) fn database(text: &Secret, service: Option<&str>, password: Option<&Secret>) -> Result<Secret, &'static str> {
    let text = text.expose();
    let is_split = has_split_password(text);
    let mut url = url::Url::parse(text).map_err(|_| if is_split { SIGNS } else { MUST })?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(MUST);
    }
    if is_split {
        return Err(SIGNS);
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
            return Err("has a password although DATABASE_PASSWORD is set: give one of them");
        }
        // The URL's own rules leave a % as it is.
        url.set_password(Some(&password.expose().replace('%', "%25"))).map_err(|()| "must name a host, which the password is for")?;
    }
    PgConnectOptions::from_str(url.as_str()).map_err(|_| MUST)?;
    Ok(Secret::new(url))
}
