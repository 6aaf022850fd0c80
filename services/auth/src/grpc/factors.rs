//! Decodes and encodes the RPCs of second factors.

use chassis::{
    clock::{now, timestamp},
    context::Context,
};
use proto::{
    auth::{
        ConfirmTotpRequest, ConfirmTotpResponse, CreateRecoveryCodesResponse, DeleteTotpResponse, GetFactorsResponse, StartTotpResponse,
        StepUpRequest, StepUpResponse, VerifySignInRequest, VerifySignInResponse,
    },
    error::Violations,
};

use super::{
    decode::{Length, MAX_SECRET, agent, check_lengths, old_password},
    encode::{session, user},
    passkeys::ceremony_answer,
};
use crate::{
    app::App,
    code::{Code, RecoveryCode},
    error::{Error, SERVICE},
    second_factor,
    second_step::{self, Completion},
    session::SessionSecret,
    step_up::{self, Proof},
};

/// Characters of a code as a person types it.
const MAX_CODE: usize = 64;

pub(super) async fn get(app: &App, context: &Context) -> Result<GetFactorsResponse, Error> {
    let (factors, added_at) = second_factor::list(app, context, now()).await?;
    Ok(GetFactorsResponse {
        password: factors.password,
        totp_create_time: added_at.map(timestamp),
        recovery_codes: u32::try_from(factors.recovery_codes).unwrap_or_default(),
        passkeys: u32::try_from(factors.passkeys).unwrap_or_default(),
    })
}

pub(super) async fn start_totp(app: &App, context: &Context) -> Result<StartTotpResponse, Error> {
    let started = second_factor::start_totp(app, context, now()).await?;
    Ok(StartTotpResponse { secret: started.secret, uri: started.uri, expire_time: Some(timestamp(started.expires_at)) })
}

pub(super) async fn confirm_totp(app: &App, context: &Context, request: ConfirmTotpRequest) -> Result<ConfirmTotpResponse, Error> {
    check([typed_code(&request.code, 1)])?;
    let codes = second_factor::confirm_totp(app, context, &request.code, now()).await?;
    Ok(ConfirmTotpResponse { recovery_codes: texts(&codes) })
}

pub(super) async fn delete_totp(app: &App, context: &Context) -> Result<DeleteTotpResponse, Error> {
    second_factor::delete_totp(app, context, now()).await?;
    Ok(DeleteTotpResponse {})
}

pub(super) async fn create_recovery_codes(app: &App, context: &Context) -> Result<CreateRecoveryCodesResponse, Error> {
    let codes = second_factor::replace_recovery_codes(app, context, now()).await?;
    Ok(CreateRecoveryCodesResponse { recovery_codes: texts(&codes) })
}

pub(super) async fn verify_sign_in(app: &App, context: &Context, request: VerifySignInRequest) -> Result<VerifySignInResponse, Error> {
    let VerifySignInRequest { sign_in_token, code, user_agent, .. } = request;
    check([("sign_in_token", sign_in_token.chars().count(), 1..=MAX_SECRET), typed_code(&code, 1), agent(&user_agent)])?;
    let completion = Completion { token: SessionSecret::from_client(sign_in_token), code, user_agent };
    let begun = second_step::complete(app, context, completion, now()).await?;
    Ok(VerifySignInResponse {
        user: Some(user(begun.user)),
        session: Some(session(&app.places, &begun.session, Some(begun.session.id))),
        session_token: begun.secret.expose().to_owned(),
    })
}

pub(super) async fn step_up(app: &App, context: &Context, request: StepUpRequest) -> Result<StepUpResponse, Error> {
    let begun = step_up::renew(app, context, proof(request)?, now()).await?;
    Ok(StepUpResponse {
        session: Some(session(&app.places, &begun.session, Some(begun.session.id))),
        session_token: begun.secret.expose().to_owned(),
    })
}

fn proof(request: StepUpRequest) -> Result<Proof, Error> {
    let StepUpRequest { password, code, ceremony_token, credential, .. } = request;
    let mut violations = Violations::default();
    if !code.is_empty() && !password.is_empty() {
        violations.add("code", "must be absent if there is a password");
    }
    let is_passkey = !credential.is_empty() || !ceremony_token.is_empty();
    if is_passkey && !(password.is_empty() && code.is_empty()) {
        violations.add("credential", "must be absent if there is a password or a code");
    }
    let proof = if is_passkey {
        Proof::Passkey(ceremony_answer(&mut violations, ceremony_token, credential))
    } else if code.is_empty() {
        check_lengths(&mut violations, [old_password("password", &password)]);
        Proof::Password(password)
    } else {
        check_lengths(&mut violations, [typed_code(&code, 0)]);
        Proof::Code(Code::parse(&code))
    };
    violations.check(SERVICE)?;
    Ok(proof)
}

fn typed_code(code: &str, min: usize) -> Length<'static> {
    ("code", code.chars().count(), min..=MAX_CODE)
}

fn check<const N: usize>(fields: [Length<'_>; N]) -> Result<(), Error> {
    let mut violations = Violations::default();
    check_lengths(&mut violations, fields);
    violations.check(SERVICE)?;
    Ok(())
}

fn texts(codes: &[RecoveryCode]) -> Vec<String> {
    codes.iter().map(RecoveryCode::text).collect()
}
