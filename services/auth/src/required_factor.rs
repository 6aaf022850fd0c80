//! The rule that each person has a second factor (`BACKLOT_SECOND_FACTOR=required`). A session of a person without one gets access tokens
//! that services accept only for what adds one ([`chassis::identity::User::lacks_factor`]). Programs of such a person get none.

use chassis::{
    context::Context,
    identity::{self, Claims},
};
use proto::id::{SessionId, UserId};
use time::OffsetDateTime;

use crate::{
    app::App,
    config::SecondFactor,
    error::Error,
    factor::Factors,
    session::Session,
    store::{PgExecutor, Tx, revocations, second_factors, sessions},
    token,
    user::User,
};

/// The claims of an access token of a person. Each place that signs one takes them from here, so that none forgets the rule.
///
/// # Errors
/// SECOND_FACTOR_MISSING for the session of a program whose person lacks a required factor.
pub(crate) async fn claims_of(
    app: &App,
    db: impl PgExecutor<'_>,
    user: &User,
    session: &Session,
    now: OffsetDateTime,
) -> Result<Claims, Error> {
    let claims = token::claims(user, session, now);
    match app.second_factor {
        SecondFactor::Optional => Ok(claims),
        SecondFactor::Required => limited(claims, session, second_factors::of(db, user.id).await?),
    }
}

/// The claims of a session, as far as the factors of its person allow where a second one is required. An operator who acts for the person
/// cannot add one, and has proved in another way who they are.
///
/// # Errors
/// SECOND_FACTOR_MISSING for the session of a program.
fn limited(claims: Claims, session: &Session, factors: Factors) -> Result<Claims, Error> {
    if factors.has_second() || session.impersonator.is_some() {
        return Ok(claims);
    }
    if session.is_of_person() { Ok(claims.without_factor()) } else { Err(Error::SecondFactorMissing) }
}

/// Refuses what needs a session with all rights, in an RPC that others may call, too.
///
/// # Errors
/// SECOND_FACTOR_MISSING if the person of the request has to add a second factor first.
pub(crate) fn check_rights(context: &Context) -> Result<(), Error> {
    if context.user.as_ref().is_some_and(identity::User::lacks_factor) { Err(Error::SecondFactorMissing) } else { Ok(()) }
}

/// Ends the other sessions of an account, which is locked and gets its first factor: whoever knows the password may have begun them, and they
/// would have all rights from now on. While a factor is optional they go on. Returns those whose end has to be reported.
///
/// # Errors
/// The database failed.
pub(crate) async fn end_others(app: &App, tx: &mut Tx, current: &Session) -> Result<Vec<SessionId>, Error> {
    if app.second_factor == SecondFactor::Optional {
        return Ok(Vec::new());
    }
    Ok(sessions::delete_all_of_user(&mut **tx, current.user_id, Some(current.id)).await?)
}

/// Reports that the access tokens of an account are out of date, which may have lost its last factor. Where a factor is optional they are not.
/// It must be the last statement before the end of sessions is reported.
///
/// # Errors
/// The database failed.
pub(crate) async fn report_change(app: &App, tx: &mut Tx, user: UserId, now: OffsetDateTime) -> Result<(), Error> {
    if app.second_factor == SecondFactor::Required {
        revocations::append_changes(tx, user, now).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chassis::identity::Grant;
    use proto::auth::Plan;
    use time::Duration;

    use super::*;
    use crate::session::Key;

    #[test]
    fn without_a_required_factor_a_person_is_limited_and_a_program_is_refused() {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(1);
        let user = User { id: UserId::generate(), email: "a@b".into(), display_name: "a".into(), plan: Plan::Free, created_at: now };
        let key = Key { grant: Grant { can_write: true, projects: None }, last_four: "abcd".into() };
        let password = Factors { password: true, ..Factors::default() };
        for (session, expected) in [
            (Session::start(user.id, now), Ok(true)),
            (Session::impersonate(user.id, "ada", Duration::minutes(5), now), Ok(false)),
            (Session::of_program(user.id, String::new(), now), Err("SECOND_FACTOR_MISSING")),
            (Session::of_key(user.id, String::new(), key, Duration::days(1), now), Err("SECOND_FACTOR_MISSING")),
        ] {
            let limit = |factors| limited(token::claims(&user, &session, now), &session, factors);
            let found = limit(password).map(|claims| claims.private.get("scope") == Some(&"second_factor".into()));
            assert_eq!(found.as_ref().map_err(Error::reason).copied(), expected, "{session:?}");
            for factors in [Factors { totp: true, ..password }, Factors { passkeys: 1, ..Factors::default() }] {
                let claims = limit(factors).expect("all rights");
                assert_eq!(claims.aud, token::claims(&user, &session, now).aud, "{session:?}");
                assert_ne!(claims.private.get("scope"), Some(&"second_factor".into()), "{session:?}");
            }
        }
    }
}
