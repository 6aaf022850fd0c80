//! Decodes and encodes the RPCs of sign-ins of devices.

use chassis::{
    clock::{now, timestamp},
    context::Context,
};
use proto::{
    auth::{
        DecideDeviceSignInRequest, DecideDeviceSignInResponse, DeviceSignInState, ExchangeDeviceCodeRequest, ExchangeDeviceCodeResponse,
        GetDeviceSignInRequest, GetDeviceSignInResponse, StartDeviceSignInRequest, StartDeviceSignInResponse,
    },
    error::Violations,
    text::is_blank,
};

use super::decode::{MAX_SECRET, check_lengths};
use crate::{
    account::MAX_NAME,
    app::App,
    device::{self, ExchangeOutcome, INTERVAL, LIFETIME},
    error::{Error, SERVICE},
    session::SessionSecret,
};

/// Characters of a typed user code, with spaces and hyphens.
const MAX_TYPED: usize = 32;

pub(super) async fn start(app: &App, context: &Context, request: StartDeviceSignInRequest) -> Result<StartDeviceSignInResponse, Error> {
    let mut violations = Violations::default();
    check_lengths(&mut violations, [("client_name", request.client_name.chars().count(), 1..=MAX_NAME)]);
    violations.no_misleading_characters("client_name", &request.client_name);
    if !request.client_name.is_empty() && is_blank(&request.client_name) {
        violations.add("client_name", "must have a visible character");
    }
    violations.check(SERVICE)?;
    let (device, user) = device::start(app, context, &request.client_name, now()).await?;
    Ok(StartDeviceSignInResponse {
        device_code: device.expose().to_owned(),
        user_code: user.shown(),
        lifetime_seconds: u32::try_from(LIFETIME.whole_seconds()).unwrap_or_default(),
        interval_seconds: INTERVAL.unsigned_abs(),
    })
}

pub(super) async fn get(app: &App, context: &Context, request: GetDeviceSignInRequest) -> Result<GetDeviceSignInResponse, Error> {
    check_typed(&request.user_code)?;
    let (waiting, user) = device::find(app, context, &request.user_code, now()).await?;
    Ok(GetDeviceSignInResponse {
        client_name: waiting.client_name,
        network: waiting.network,
        create_time: Some(timestamp(waiting.created_at)),
        email: user.email,
    })
}

pub(super) async fn decide(app: &App, context: &Context, request: DecideDeviceSignInRequest) -> Result<DecideDeviceSignInResponse, Error> {
    check_typed(&request.user_code)?;
    device::decide(app, context, &request.user_code, request.approve, now()).await?;
    Ok(DecideDeviceSignInResponse {})
}

pub(super) async fn exchange(
    app: &App,
    context: &Context,
    request: ExchangeDeviceCodeRequest,
) -> Result<ExchangeDeviceCodeResponse, Error> {
    let mut violations = Violations::default();
    check_lengths(
        &mut violations,
        [
            ("device_code", request.device_code.chars().count(), 1..=MAX_SECRET),
            ("client_name", request.client_name.chars().count(), 0..=MAX_NAME),
        ],
    );
    violations.check(SERVICE)?;
    let code = SessionSecret::from_client(request.device_code);
    let only = |state: DeviceSignInState| ExchangeDeviceCodeResponse { state: state.into(), ..Default::default() };
    Ok(match device::exchange(app, context, &code, &request.client_name, now()).await? {
        ExchangeOutcome::Pending => only(DeviceSignInState::Pending),
        ExchangeOutcome::SlowDown => only(DeviceSignInState::SlowDown),
        ExchangeOutcome::Denied => only(DeviceSignInState::Denied),
        ExchangeOutcome::Expired => only(DeviceSignInState::Expired),
        ExchangeOutcome::Invalid => only(DeviceSignInState::Invalid),
        ExchangeOutcome::Done(access, secret) => ExchangeDeviceCodeResponse {
            state: DeviceSignInState::Done.into(),
            access_token: access.token,
            expire_time: Some(timestamp(access.expires_at)),
            refresh_token: secret.expose().to_owned(),
        },
    })
}

fn check_typed(user_code: &str) -> Result<(), Error> {
    let mut violations = Violations::default();
    check_lengths(&mut violations, [("user_code", user_code.chars().count(), 1..=MAX_TYPED)]);
    Ok(violations.check(SERVICE)?)
}
