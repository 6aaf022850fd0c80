//! The routes of the device authorization grant (RFC 8628), and the metadata that names them (RFC 8414).

use serde_json::{Map, Value, json};

use super::{
    reasons::Shape,
    responses::{oauth_refusals, refusals, with_headers},
    summary,
};

/// Path, method and operation of each route.
pub(super) fn operations() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("/api/auth/device", "post", start()),
        ("/api/auth/device/token", "post", token()),
        ("/.well-known/oauth-authorization-server", "get", metadata()),
    ]
}

fn start() -> Value {
    let text = "Begins the sign-in of a device (RFC 8628, section 3.1). The program shows `user_code` and `verification_uri` to its person, who \
        enters the code there. `client_id` is what the program calls itself; no client has to be registered. Refusals have the members of RFC 6749, \
        section 5.2: 429 and 503 are `temporarily_unavailable`, 500 and 504 `server_error`, all others `invalid_request`.";
    let properties = json!({"client_id": {"type": "string", "minLength": 1, "maxLength": 80}});
    let answer = json!({"type": "object",
        "required": ["device_code", "user_code", "verification_uri", "verification_uri_complete", "expires_in", "interval"],
        "properties": {
            "device_code": {"type": "string"}, "user_code": {"type": "string", "pattern": "^[A-Z]{4}-[A-Z]{4}$"},
            "verification_uri": {"type": "string"}, "verification_uri_complete": {"type": "string"},
            "expires_in": {"type": "integer", "description": "Seconds."},
            "interval": {"type": "integer", "description": "Seconds between two questions."}}});
    operation("StartDeviceSignIn", text, (&properties, &["client_id"]), &answer)
}

fn token() -> Value {
    let text = "Exchanges a device code for tokens (RFC 8628, section 3.4). Until the person has decided, and if the code is of no use, the \
        answer is 400 with `error` as the RFC has it: authorization_pending, slow_down, access_denied, expired_token or invalid_grant. 429 is \
        slow_down, 503 `temporarily_unavailable`, 500 and 504 are `server_error`, other refusals `invalid_request`. `POST /api/auth/token` exchanges the refresh token later.";
    let properties = json!({"grant_type": {"const": "urn:ietf:params:oauth:grant-type:device_code"},
        "device_code": {"type": "string", "minLength": 1, "maxLength": 256},
        "client_id": {"type": "string", "minLength": 1, "maxLength": 80, "description": "That of the first request."}});
    let answer = json!({"type": "object", "required": ["access_token", "token_type", "expires_in", "refresh_token"], "properties": {
        "access_token": {"type": "string"}, "token_type": {"const": "Bearer"},
        "expires_in": {"type": "integer", "description": "Seconds."}, "refresh_token": {"type": "string"}}});
    operation("ExchangeDeviceCode", text, (&properties, &["grant_type", "device_code", "client_id"]), &answer)
}

fn metadata() -> Value {
    let text = "The metadata of the authorization server (RFC 8414): the addresses of the device flow. There is no authorization endpoint, so there \
        are no response types.";
    let texts = json!({"type": "array", "items": {"type": "string"}});
    let url = json!({"type": "string", "format": "uri"});
    let names = [
        ("issuer", &url),
        ("device_authorization_endpoint", &url),
        ("token_endpoint", &url),
        ("jwks_uri", &url),
        ("grant_types_supported", &texts),
        ("response_types_supported", &texts),
        ("token_endpoint_auth_methods_supported", &texts),
    ];
    let properties: Map<String, Value> = names.iter().map(|(name, schema)| ((*name).to_owned(), (*schema).clone())).collect();
    let answer = json!({"type": "object", "required": names.map(|(name, _)| name), "properties": properties});
    let shape = Shape { id: "GetAuthorizationServerMetadata", changes: false, has_body: false, has_variable: false, needs_person: false };
    described(shape, text, &answer, refusals(shape))
}

fn operation(id: &str, text: &str, (properties, required): (&Value, &[&str]), answer: &Value) -> Value {
    let shape = Shape { id, changes: true, has_body: true, has_variable: false, needs_person: false };
    let mut operation = described(shape, text, answer, oauth_refusals(shape));
    operation["requestBody"] = json!({"required": true, "content": {"application/x-www-form-urlencoded": {"schema":
        {"type": "object", "required": required, "properties": properties}}}});
    operation
}

fn described(shape: Shape<'_>, text: &str, answer: &Value, mut responses: Map<String, Value>) -> Value {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let done = json!({"description": "Done.", "headers": with_headers(&[]), "content": {"application/json": {"schema": answer}}});
    responses.insert("200".to_owned(), done);
    json!({
        "operationId": shape.id, "tags": ["Auth"], "summary": summary(&text), "description": text, "parameters": [], "security": [],
        "responses": responses,
    })
}
