//! Decodes and encodes the RPCs of passkeys.

use chassis::{
    clock::{now, timestamp},
    context::Context,
};
use proto::{
    auth::{
        self as pb, CreatePasskeyRequest, CreatePasskeyResponse, DeletePasskeyRequest, DeletePasskeyResponse, ListPasskeysResponse,
        PasskeyPurpose, RenamePasskeyRequest, RenamePasskeyResponse, SignInWithPasskeyRequest, SignInWithPasskeyResponse,
        StartPasskeyCeremonyRequest, StartPasskeyCeremonyResponse,
    },
    error::Violations,
};

use super::{
    decode::{MAX_SECRET, agent, check_lengths, check_required_name},
    encode::{session, user},
};
use crate::{
    app::App,
    code::RecoveryCode,
    error::{Error, SERVICE},
    passkey::{self, CeremonyAnswer, Passkey},
    passkey_use::{self, CeremonyStart},
    session::SessionSecret,
};

/// Characters of an answer. One without an attestation has about 1,000.
const MAX_CREDENTIAL: usize = 16_384;

pub(super) async fn start(
    app: &App,
    context: &Context,
    request: StartPasskeyCeremonyRequest,
) -> Result<StartPasskeyCeremonyResponse, Error> {
    let started = passkey_use::begin(app, context, begin(request)?, now()).await?;
    Ok(StartPasskeyCeremonyResponse {
        options: started.options,
        ceremony_token: started.token.expose().to_owned(),
        expire_time: Some(timestamp(started.expires_at)),
    })
}

fn begin(request: StartPasskeyCeremonyRequest) -> Result<CeremonyStart, Error> {
    let purpose = request.purpose();
    let token = request.sign_in_token;
    let mut violations = Violations::default();
    let bounds = if purpose == PasskeyPurpose::SecondStep { 1..=MAX_SECRET } else { 0..=MAX_SECRET };
    check_lengths(&mut violations, [("sign_in_token", token.chars().count(), bounds)]);
    if purpose != PasskeyPurpose::SecondStep && !token.is_empty() {
        violations.add("sign_in_token", "must be absent unless the purpose is PASSKEY_PURPOSE_SECOND_STEP");
    }
    let begin = match purpose {
        PasskeyPurpose::Unspecified => {
            violations.add("purpose", "must be one of PasskeyPurpose, such as PASSKEY_PURPOSE_SIGN_IN");
            CeremonyStart::SignIn
        }
        PasskeyPurpose::Registration => CeremonyStart::Registration,
        PasskeyPurpose::SignIn => CeremonyStart::SignIn,
        PasskeyPurpose::SecondStep => CeremonyStart::SecondStep(SessionSecret::from_client(token)),
        PasskeyPurpose::StepUp => CeremonyStart::StepUp,
    };
    violations.check(SERVICE)?;
    Ok(begin)
}

pub(super) async fn create(app: &App, context: &Context, request: CreatePasskeyRequest) -> Result<CreatePasskeyResponse, Error> {
    let CreatePasskeyRequest { ceremony_token, credential, display_name } = request;
    let mut violations = Violations::default();
    check_required_name(&mut violations, &display_name);
    let answer = ceremony_answer(&mut violations, ceremony_token, credential);
    violations.check(SERVICE)?;
    let (made, codes) = passkey::create(app, context, (answer, &display_name), now()).await?;
    let recovery_codes = codes.iter().map(RecoveryCode::text).collect();
    Ok(CreatePasskeyResponse { passkey: Some(encode(made)), recovery_codes })
}

pub(super) async fn list(app: &App, context: &Context) -> Result<ListPasskeysResponse, Error> {
    let found = passkey::list(app, context, now()).await?;
    Ok(ListPasskeysResponse { passkeys: found.into_iter().map(encode).collect() })
}

pub(super) async fn rename(app: &App, context: &Context, request: RenamePasskeyRequest) -> Result<RenamePasskeyResponse, Error> {
    let mut violations = Violations::default();
    let id = violations.parse("passkey_id", &request.passkey_id);
    check_required_name(&mut violations, &request.display_name);
    violations.check(SERVICE)?;
    passkey::rename(app, context, (id.ok_or(Error::PasskeyNotFound)?, &request.display_name), now()).await?;
    Ok(RenamePasskeyResponse {})
}

pub(super) async fn delete(app: &App, context: &Context, request: DeletePasskeyRequest) -> Result<DeletePasskeyResponse, Error> {
    let mut violations = Violations::default();
    let id = violations.parse("passkey_id", &request.passkey_id);
    violations.check(SERVICE)?;
    passkey::delete(app, context, id.ok_or(Error::PasskeyNotFound)?, now()).await?;
    Ok(DeletePasskeyResponse {})
}

pub(super) async fn sign_in(app: &App, context: &Context, request: SignInWithPasskeyRequest) -> Result<SignInWithPasskeyResponse, Error> {
    let SignInWithPasskeyRequest { ceremony_token, credential, user_agent, .. } = request;
    let mut violations = Violations::default();
    check_lengths(&mut violations, [agent(&user_agent)]);
    let answer = ceremony_answer(&mut violations, ceremony_token, credential);
    violations.check(SERVICE)?;
    let begun = passkey_use::sign_in(app, context, (answer, &user_agent), now()).await?;
    Ok(SignInWithPasskeyResponse {
        user: Some(user(begun.user)),
        session: Some(session(&app.places, &begun.session, Some(begun.session.id))),
        session_token: begun.secret.expose().to_owned(),
    })
}

/// The answer of an authenticator.
pub(super) fn ceremony_answer(violations: &mut Violations, ceremony_token: String, credential: String) -> CeremonyAnswer {
    check_lengths(
        violations,
        [
            ("ceremony_token", ceremony_token.chars().count(), 1..=MAX_SECRET),
            ("credential", credential.chars().count(), 1..=MAX_CREDENTIAL),
        ],
    );
    CeremonyAnswer { ceremony: SessionSecret::from_client(ceremony_token), credential }
}

pub(super) fn encode(passkey: Passkey) -> pb::Passkey {
    pb::Passkey {
        id: passkey.id.to_string(),
        display_name: passkey.name,
        create_time: Some(timestamp(passkey.created_at)),
        last_use_time: passkey.last_used_at.map(timestamp),
        backed_up: passkey.is_backed_up,
        discoverable: passkey.is_discoverable,
    }
}
