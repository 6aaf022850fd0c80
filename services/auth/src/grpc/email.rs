//! Decodes and encodes the RPCs that prove an address.

use chassis::{clock::now, context::Context};
use proto::{
    auth::{
        ConfirmPasswordResetRequest, ConfirmPasswordResetResponse, RequestPasswordResetRequest, RequestPasswordResetResponse,
        SendVerificationResponse, VerifyEmailRequest, VerifyEmailResponse,
    },
    error::Violations,
};

use super::decode::{MAX_SECRET, check_lengths, check_typed_email};
use crate::{
    app::App,
    email_token::EmailToken,
    error::{Error, SERVICE},
    password, proof,
};

pub(super) async fn verify(app: &App, context: &Context, request: VerifyEmailRequest) -> Result<VerifyEmailResponse, Error> {
    let mut violations = Violations::default();
    check_token(&mut violations, &request.token);
    violations.check(SERVICE)?;
    let email = proof::verify(app, context, &EmailToken::from_client(request.token), now()).await?;
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
    check_lengths(&mut violations, [("password", password::length(&password), password::MIN_CHARACTERS..=password::MAX_CHARACTERS)]);
    violations.check(SERVICE)?;
    proof::confirm_reset(app, context, &EmailToken::from_client(token), password, now()).await?;
    Ok(ConfirmPasswordResetResponse {})
}

fn check_token(violations: &mut Violations, token: &str) {
    check_lengths(violations, [("token", token.chars().count(), 1..=MAX_SECRET)]);
}
