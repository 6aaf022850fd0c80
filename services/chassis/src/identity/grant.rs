//! What the access token of an API key may do. A token of a session has no grant and may do what its person may.
//!
//! A token with a grant has an audience of its own: a process of a release that knows no grants refuses the token, instead of taking it for
//! one without limits. So has the token of a session whose person has to add a second factor first.

use std::str::FromStr;

use proto::id::ProjectId;
use serde_json::{Map, Value};

use super::{AUDIENCE, LIMITED_AUDIENCE};

/// The claim with the scopes, separated by spaces (RFC 9068, section 2.2.3).
const SCOPE_CLAIM: &str = "scope";
/// The claim with the ids of projects.
const PROJECTS_CLAIM: &str = "projects";
const READ: &str = "read";
const WRITE: &str = "write";
/// The scope of a session whose person has to add a second factor first. It is that of no grant.
const FACTOR: &str = "second_factor";

/// Projects of one grant. They are in every token, which has at most 4 KiB.
pub const MAX_PROJECTS: usize = 20;

/// What a key may do with the account of its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Whether it has the scope `write`. Every grant has the scope `read`.
    pub can_write: bool,
    /// The only projects that it reaches. `None` for all of the account.
    pub projects: Option<Vec<ProjectId>>,
}

/// The private claim of a session whose person has to add a second factor first. The audience of its token is [`LIMITED_AUDIENCE`].
#[must_use]
pub fn missing_factor_claim() -> (String, Value) {
    (SCOPE_CLAIM.to_owned(), FACTOR.into())
}

/// Whether these claims are of such a session.
pub(super) fn lacks_factor(claims: &Map<String, Value>) -> bool {
    claims.get(SCOPE_CLAIM).and_then(Value::as_str) == Some(FACTOR)
}

/// The claims of a grant are not those that auth writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the scope or the projects of the access token cannot be read")]
pub struct InvalidGrant;

impl Grant {
    /// The audience of a token with or without a grant.
    #[must_use]
    pub const fn audience(grant: Option<&Self>) -> &'static str {
        if grant.is_some() { LIMITED_AUDIENCE } else { AUDIENCE }
    }

    /// The claims of its tokens.
    #[must_use]
    pub fn claims(&self) -> Map<String, Value> {
        let scope = if self.can_write { format!("{READ} {WRITE}") } else { READ.to_owned() };
        let mut claims = Map::from_iter([(SCOPE_CLAIM.to_owned(), scope.into())]);
        if let Some(projects) = &self.projects {
            claims.insert(PROJECTS_CLAIM.to_owned(), projects.iter().map(ToString::to_string).collect());
        }
        claims
    }

    /// The grant of a token with these claims and this audience; `None` for the token of a session.
    ///
    /// # Errors
    /// The claims are not those that auth writes, or they and the audience do not belong together.
    pub fn of_token(audience: &str, claims: &Map<String, Value>) -> Result<Option<Self>, InvalidGrant> {
        if audience != LIMITED_AUDIENCE {
            let has_grant = claims.contains_key(SCOPE_CLAIM) || claims.contains_key(PROJECTS_CLAIM);
            return if has_grant { Err(InvalidGrant) } else { Ok(None) };
        }
        if lacks_factor(claims) {
            return if claims.contains_key(PROJECTS_CLAIM) { Err(InvalidGrant) } else { Ok(None) };
        }
        let scope = claims.get(SCOPE_CLAIM).and_then(Value::as_str).ok_or(InvalidGrant)?;
        let mut scopes = scope.split(' ');
        let (first, second, rest) = (scopes.next(), scopes.next(), scopes.next());
        let can_write = match (first, second, rest) {
            (Some(READ), None, None) => false,
            (Some(READ), Some(WRITE), None) => true,
            _ => return Err(InvalidGrant),
        };
        let projects = claims.get(PROJECTS_CLAIM).map(projects).transpose()?;
        Ok(Some(Self { can_write, projects }))
    }

    /// Whether it reaches a project.
    #[must_use]
    pub fn reaches(&self, project: ProjectId) -> bool {
        self.projects.as_ref().is_none_or(|projects| projects.contains(&project))
    }
}

fn projects(claim: &Value) -> Result<Vec<ProjectId>, InvalidGrant> {
    let ids = claim.as_array().filter(|ids| (1..=MAX_PROJECTS).contains(&ids.len())).ok_or(InvalidGrant)?;
    ids.iter().map(|id| id.as_str().and_then(|id| ProjectId::from_str(id).ok()).ok_or(InvalidGrant)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn grant(can_write: bool, projects: Option<usize>) -> Grant {
        Grant { can_write, projects: projects.map(|count| (0..count).map(|_| ProjectId::generate()).collect()) }
    }

    #[test]
    fn a_grant_is_read_as_it_was_written() {
        for grant in [grant(false, None), grant(true, None), grant(true, Some(1)), grant(false, Some(MAX_PROJECTS))] {
            assert_eq!(Grant::of_token(Grant::audience(Some(&grant)), &grant.claims()), Ok(Some(grant)));
        }
        assert_eq!(Grant::of_token(Grant::audience(None), &Map::new()), Ok(None));
        let limited = Map::from_iter([missing_factor_claim()]);
        assert_eq!(Grant::of_token(LIMITED_AUDIENCE, &limited), Ok(None));
        assert!(lacks_factor(&limited) && !lacks_factor(&Map::new()) && !lacks_factor(&grant(true, None).claims()));
    }

    #[test]
    fn claims_without_their_audience_and_an_audience_without_its_claims_are_refused() {
        let claims = |value: Value| value.as_object().expect("an object").clone();
        assert_eq!(Grant::of_token(AUDIENCE, &grant(true, None).claims()), Err(InvalidGrant));
        assert_eq!(Grant::of_token(AUDIENCE, &claims(json!({ "projects": [] }))), Err(InvalidGrant));
        assert_eq!(Grant::of_token(AUDIENCE, &Map::from_iter([missing_factor_claim()])), Err(InvalidGrant));
        for wrong in [
            json!({}),
            json!({ "scope": "" }),
            json!({ "scope": "write" }),
            json!({ "scope": "read  write" }),
            json!({ "scope": "write read" }),
            json!({ "scope": "read write admin" }),
            json!({ "scope": ["read"] }),
            json!({ "scope": "second_factor read" }),
            json!({ "scope": "second_factor", "projects": [ProjectId::generate().to_string()] }),
            json!({ "scope": "read", "projects": null }),
            json!({ "scope": "read", "projects": [] }),
            json!({ "scope": "read", "projects": "x" }),
            json!({ "scope": "read", "projects": ["x"] }),
            json!({ "scope": "read", "projects": vec![ProjectId::generate().to_string(); MAX_PROJECTS + 1] }),
        ] {
            assert_eq!(Grant::of_token(LIMITED_AUDIENCE, &claims(wrong.clone())), Err(InvalidGrant), "{wrong}");
        }
    }

    #[test]
    fn a_grant_reaches_its_projects() {
        let (all, one) = (grant(true, None), grant(true, Some(1)));
        let own = one.projects.as_ref().expect("projects")[0];
        assert!(all.reaches(own) && one.reaches(own) && !one.reaches(ProjectId::generate()));
    }
}
