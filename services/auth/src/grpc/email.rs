//! Decodes and encodes the RPCs that prove an address.

use chassis::{clock::now, context::Context};
use proto::{
    auth::{
        ChangeEmailRequest, ChangeEmailResponse, ConfirmEmailChangeRequest, ConfirmEmailChangeResponse, ConfirmPasswordResetRequest,
        ConfirmPasswordResetResponse, GetEmailChangeRequest, GetEmailChangeResponse, GetLinkRequest, GetLinkResponse,
        RemoveNewFactorRequest, RemoveNewFactorResponse, RequestPasswordResetRequest, RequestPasswordResetResponse,
        SendVerificationResponse, VerifyEmailRequest, VerifyEmailResponse,
    },
    error::Violations,
};

use super::{
    decode::{MAX_SECRET, check_lengths, check_typed_email, new_password, optional_password},
    encode::session,
};
use crate::{
    app::App,
    email_change,
    email_token::{EmailToken, Purpose},
    error::{Error, SERVICE},
    factor_removal, proof,
};

pub(super) async fn verify(app: &App, context: &Context, request: VerifyEmailRequest) -> Result<VerifyEmailResponse, Error> {
    let mut violations = Violations::default();
    check_token(&mut violations, &request.token);
    check_lengths(&mut violations, [optional_password(&request.password)]);
    violations.check(SERVICE)?;
    let email = proof::verify(app, context, &EmailToken::from_client(request.token), request.password, now()).await?;
    Ok(VerifyEmailResponse { email })
}

pub(super) async fn send_verification(app: &App, context: &Context) -> Result<SendVerificationResponse, Error> {
    proof::send_verification(app, context, now()).await?;
    Ok(SendVerificationResponse {})
}

pub(super) async fn request_reset(
    app: &App,
    context: &Context,
    request: RequestPasswordResetRequest,
) -> Result<RequestPasswordResetResponse, Error> {
    let mut violations = Violations::default();
    check_typed_email(&mut violations, &request.email);
    violations.check(SERVICE)?;
    proof::request_reset(app, context, &request.email, now()).await?;
    Ok(RequestPasswordResetResponse {})
}

pub(super) async fn confirm_reset(
    app: &App,
    context: &Context,
    request: ConfirmPasswordResetRequest,
) -> Result<ConfirmPasswordResetResponse, Error> {
    let ConfirmPasswordResetRequest { token, password } = request;
    let mut violations = Violations::default();
    check_token(&mut violations, &token);
    check_lengths(&mut violations, [new_password(&password, app.password_min)]);
    violations.check(SERVICE)?;
    proof::confirm_reset(app, context, &EmailToken::from_client(token), password, now()).await?;
    Ok(ConfirmPasswordResetResponse {})
}

pub(super) async fn find_link(app: &App, request: GetLinkRequest) -> Result<GetLinkResponse, Error> {
    let mut violations = Violations::default();
    check_token(&mut violations, &request.token);
    violations.check(SERVICE)?;
    let purpose = proof::purpose_of(app, &EmailToken::from_client(request.token), now()).await?;
    Ok(GetLinkResponse {
        verifies_email: Purpose::VERIFYING.contains(&purpose),
        sets_password: Purpose::SETTING_PASSWORD.contains(&purpose),
        removes_factor: purpose == Purpose::RemoveFactor,
    })
}

pub(super) async fn remove_factor(app: &App, context: &Context, request: RemoveNewFactorRequest) -> Result<RemoveNewFactorResponse, Error> {
    let mut violations = Violations::default();
    check_token(&mut violations, &request.token);
    violations.check(SERVICE)?;
    factor_removal::remove(app, context, &EmailToken::from_client(request.token), now()).await?;
    Ok(RemoveNewFactorResponse {})
}

pub(super) async fn change(app: &App, context: &Context, request: ChangeEmailRequest) -> Result<ChangeEmailResponse, Error> {
    let mut violations = Violations::default();
    let new = violations.parse("new_email", &request.new_email);
    violations.check(SERVICE)?;
    let Some(new) = new else { unreachable!("an address that does not parse is a violation") };
    email_change::request(app, context, &new, now()).await?;
    Ok(ChangeEmailResponse {})
}

pub(super) async fn find_change(app: &App, context: &Context, request: GetEmailChangeRequest) -> Result<GetEmailChangeResponse, Error> {
    let mut violations = Violations::default();
    check_token(&mut violations, &request.token);
    violations.check(SERVICE)?;
    let (user, new_email) = email_change::find(app, context, &EmailToken::from_client(request.token), now()).await?;
    Ok(GetEmailChangeResponse { email: user.email, new_email })
}

pub(super) async fn confirm_change(
    app: &App,
    context: &Context,
    request: ConfirmEmailChangeRequest,
) -> Result<ConfirmEmailChangeResponse, Error> {
    let mut violations = Violations::default();
    check_token(&mut violations, &request.token);
    violations.check(SERVICE)?;
    let begun = email_change::confirm(app, context, &EmailToken::from_client(request.token), now()).await?;
    Ok(ConfirmEmailChangeResponse {
        email: begun.user.email,
        session: Some(session(&app.places, &begun.session, Some(begun.session.id))),
        session_token: begun.secret.expose().to_owned(),
    })
}

fn check_token(violations: &mut Violations, token: &str) {
    check_lengths(violations, [("token", token.chars().count(), 1..=MAX_SECRET)]);
}
