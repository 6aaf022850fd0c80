//! The device authorization grant (RFC 8628), for programs without a browser. Requests are forms and answers are JSON as the RFC has them, so
//! that OAuth clients can use the routes.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use proto::auth::{DeviceSignInState, ExchangeDeviceCodeRequest, ExchangeDeviceCodeResponse, StartDeviceSignInRequest};
use serde_json::{Value, json};
use tonic::Status;
use url::Url;

use crate::{
    app::App,
    error::{
        Failure, fault_of, invalid,
        oauth::{Endpoint, KIND, error},
    },
    identity::authenticate::MaybeAuthenticated,
    json::{
        form::Form,
        reply::{Reply, reply},
    },
    web::account::menu::DEVICE,
};

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Section 3.1 and 3.2. `client_id` is what the program calls itself.
pub(crate) async fn start(State(app): State<Arc<App>>, caller: MaybeAuthenticated, form: Form) -> Reply {
    let request = StartDeviceSignInRequest { client_name: required(&form, "client_id")?.to_owned() };
    let answer = app.upstream.auth().start_device_sign_in(caller.anonymous().request(request)).await;
    let started = answer.map_err(|status| failure(&status))?.into_inner();
    let page = app.origins.main.join(DEVICE).map_or_else(|_| DEVICE.to_owned(), String::from);
    let answer = json!({
        "device_code": started.device_code,
        "user_code": started.user_code,
        "verification_uri": page,
        "verification_uri_complete": format!("{page}?user_code={}", started.user_code),
        "expires_in": started.lifetime_seconds,
        "interval": started.interval_seconds,
    });
    Ok(respond(StatusCode::OK, &answer))
}

/// Section 3.4 and 3.5.
pub(crate) async fn token(State(app): State<Arc<App>>, caller: MaybeAuthenticated, form: Form) -> Reply {
    if required(&form, "grant_type")? != GRANT_TYPE {
        return Ok(refuse("unsupported_grant_type", &format!("grant_type must be {GRANT_TYPE}")));
    }
    let (device_code, client_name) = (required(&form, "device_code")?.to_owned(), required(&form, "client_id")?.to_owned());
    let request = ExchangeDeviceCodeRequest { device_code, client_name };
    let answer = app.upstream.auth().exchange_device_code(caller.anonymous().request(request)).await;
    let answer = answer.map_err(|status| failure(&status))?.into_inner();
    Ok(exchanged(&answer, chassis::clock::now().unix_timestamp()))
}

/// The metadata of the authorization server (RFC 8414). The server has no authorization endpoint and registers no clients.
pub(crate) async fn metadata(State(app): State<Arc<App>>) -> Reply {
    reply(&metadata_of(&app.origins.main))
}

/// `main` is the public URL.
fn metadata_of(main: &Url) -> Value {
    let issuer = main.as_str().trim_end_matches('/');
    json!({
        "issuer": issuer,
        "device_authorization_endpoint": format!("{issuer}{}", Endpoint::DeviceAuthorization.path()),
        "token_endpoint": format!("{issuer}{}", Endpoint::Token.path()),
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "grant_types_supported": [GRANT_TYPE],
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["none"],
    })
}

/// A parameter, which occurs once and has a value (RFC 6749, section 3.2).
fn required<'a>(form: &'a Form, name: &str) -> Result<&'a str, Failure> {
    let mut values = form.all(name);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(invalid(name, "must occur once")),
        (Some(value), None) if !value.is_empty() => Ok(value),
        _ => Err(invalid(name, "must not be empty")),
    }
}

/// The refusal by auth, with the name that the RFC has for the field.
fn failure(status: &Status) -> Failure {
    let mut fault = fault_of(status);
    for violation in fault.violations.iter_mut().filter(|violation| violation.field == "client_name") {
        "client_id".clone_into(&mut violation.field);
    }
    fault.into()
}

/// `now` is in seconds since 1970.
fn exchanged(answer: &ExchangeDeviceCodeResponse, now: i64) -> Response {
    match answer.state() {
        DeviceSignInState::Done => {
            let expires = answer.expire_time.as_ref().map_or(now, |time| time.seconds);
            let body = json!({
                "access_token": answer.access_token,
                "token_type": "Bearer",
                "expires_in": (expires - now).max(0),
                "refresh_token": answer.refresh_token,
            });
            respond(StatusCode::OK, &body)
        }
        DeviceSignInState::Pending => refuse("authorization_pending", "the person has not decided yet"),
        DeviceSignInState::SlowDown => refuse("slow_down", "wait five seconds more between two questions from now on"),
        DeviceSignInState::Denied => refuse("access_denied", "the person has refused"),
        DeviceSignInState::Expired => refuse("expired_token", "the code has expired"),
        DeviceSignInState::Invalid | DeviceSignInState::Unspecified => {
            refuse("invalid_grant", "the code does not exist, was used, or is that of another client_id")
        }
    }
}

/// RFC 6749, section 5.2.
fn refuse(name: &str, text: &str) -> Response {
    respond(StatusCode::BAD_REQUEST, &error(name, text))
}

fn respond(status: StatusCode, body: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, KIND), (header::CACHE_CONTROL, "no-store")];
    (status, headers.map(|(name, value)| (name, HeaderValue::from_static(value))), body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use proto::error::{Fault, FieldViolation};

    use super::*;

    #[tokio::test]
    async fn each_state_has_the_answer_of_the_rfc() {
        let state = |state: DeviceSignInState| ExchangeDeviceCodeResponse { state: state.into(), ..Default::default() };
        for (answer, error) in [
            (state(DeviceSignInState::Pending), "authorization_pending"),
            (state(DeviceSignInState::SlowDown), "slow_down"),
            (state(DeviceSignInState::Denied), "access_denied"),
            (state(DeviceSignInState::Expired), "expired_token"),
            (state(DeviceSignInState::Invalid), "invalid_grant"),
            (state(DeviceSignInState::Unspecified), "invalid_grant"),
        ] {
            let response = exchanged(&answer, 0);
            assert_eq!(
                (response.status(), &response.headers()[header::CACHE_CONTROL]),
                (StatusCode::BAD_REQUEST, &HeaderValue::from_static("no-store"))
            );
            let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["error"], error);
        }
        let expire_time = Some(chassis::clock::Timestamp { seconds: 1300, nanos: 0 });
        let done = ExchangeDeviceCodeResponse {
            access_token: "a".into(),
            refresh_token: "r".into(),
            expire_time,
            ..state(DeviceSignInState::Done)
        };
        let response = exchanged(&done, 1000);
        assert_eq!(response.status(), StatusCode::OK);
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        let expected = json!({ "access_token": "a", "token_type": "Bearer", "expires_in": 300, "refresh_token": "r" });
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    }

    #[test]
    fn the_metadata_names_the_endpoints_of_the_public_url() {
        let metadata = metadata_of(&Url::parse("https://apps.example").unwrap());
        assert_eq!(metadata["issuer"], "https://apps.example");
        assert_eq!(metadata["device_authorization_endpoint"], "https://apps.example/api/auth/device");
        assert_eq!(metadata["token_endpoint"], "https://apps.example/api/auth/device/token");
        assert_eq!((&metadata["grant_types_supported"][0], &metadata["response_types_supported"]), (&json!(GRANT_TYPE), &json!([])));
    }

    #[test]
    fn a_field_of_auth_has_the_name_of_the_rfc() {
        let violation = |field: &str| FieldViolation { field: field.into(), description: "x".into() };
        let fault = Fault::invalid("auth", vec![violation("client_name"), violation("device_code")]);
        let Failure(fault) = failure(&Status::from(fault));
        let fields: Vec<_> = fault.violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["client_id", "device_code"]);
    }
}
