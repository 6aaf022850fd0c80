//! Who calls, whether they may, and the log line of a call that was refused.

use std::{net::IpAddr, time::Instant};

use http::{HeaderMap, Response};
use proto::error::{ErrorCode, Fault};
use tonic::{Code, Status, body::Body};
use tracing::field::display;

use super::{DEADLINE_MARGIN, Head, Shared};
use crate::{client::CALLER_HEADER, context::Context, deadline::timeout_of, identity::Caller, listen::Connection, server::scope};

impl Shared {
    /// The calling process, and the address of its client.
    pub(super) fn caller(&self, headers: &HeaderMap, connection: &Connection) -> Result<(Caller, Option<IpAddr>), Fault> {
        match headers.get(CALLER_HEADER).map(|v| v.to_str()) {
            None => Ok((Caller::Direct, None)),
            Some(Ok(token)) => self.verifier.caller_of(connection.tls_peer(), token),
            Some(Err(_)) => Err(self.fault(ErrorCode::Unauthenticated, "TOKEN_INVALID", "the caller token is not text")),
        }
    }

    /// Checks that the caller may call the RPC, and makes the context of the request.
    pub(super) async fn authorize(&self, head: &Head, caller: Caller, client_address: Option<IpAddr>) -> Result<Context, Fault> {
        let (path, headers) = (head.path.as_str(), &head.headers);
        let mut context = Context {
            service: self.me,
            caller,
            user: None,
            client_address,
            deadline: timeout_of(headers).map(|left| Instant::now() + left.saturating_sub(DEADLINE_MARGIN)),
            trace_id: head.trace_id.clone(),
        };
        // Health and reflection are open to all callers.
        if path.starts_with("grpc.") {
            return Ok(context);
        }
        let Some(rule) = self.rule(path) else {
            return Err(self.fault(ErrorCode::Unimplemented, "UNIMPLEMENTED", format!("there is no RPC {path}")));
        };
        if !rule.callers.contains(&caller) {
            let text = format!("{} may not call {}", caller.name(), rule.rpc);
            return Err(self.fault(ErrorCode::Forbidden, "CALLER_DENIED", text));
        }
        if let Some(user) = self.user(headers).await? {
            // It is set once for a call.
            let _ = head.user.set(user.id);
            if let Some(scope) = user.grant.as_ref().and_then(|grant| scope::missing(rule, grant)) {
                return Err(scope::refusal(self.me, scope));
            }
            if user.lacks_factor() && !scope::allows_without_factor(rule) {
                return Err(scope::factor_missing(self.me));
            }
            context.user = Some(user);
        }
        if rule.user {
            let user = context.user()?;
            if user.is_impersonated() && rule.scope.is_of_account() && !proto::READ_ONLY_METHODS.contains(&format!("/{path}").as_str()) {
                let text = "an operator who acts for a person may not change the account";
                return Err(self.fault(ErrorCode::Forbidden, "IMPERSONATED", text));
            }
        }
        Ok(context)
    }
}

/// Logs a call that was refused, with its person if the access token was valid. A call that the edge limit refuses does not get here, so an
/// address writes only as many lines as that limit lets through.
pub(super) fn log_refusal(head: &Head, rpc: &str, response: &Response<Body>) {
    let Some(status) = Status::from_header_map(response.headers()).filter(|status| status.code() != Code::Ok) else { return };
    let (fault, caller) = (Fault::from_status(&status), head.caller.as_ref().ok().map(|(caller, _)| *caller));
    if head.path.starts_with("grpc.") || !is_logged(caller, &fault) {
        return;
    }
    let (user, caller) = (head.user.get().copied().map(display), caller.map_or("unknown", Caller::name));
    tracing::info!(rpc, caller, user, address = %head.connection.peer().ip(), reason = fault.reason, "a call was refused");
}

/// The gateway logs the requests behind its own calls. Nobody else logs those of direct callers, of callers with an invalid caller token
/// (`None`), and of roles that call what they may not.
fn is_logged(caller: Option<Caller>, fault: &Fault) -> bool {
    use ErrorCode::{Forbidden, InvalidArgument, NotFound, RateLimited, Unauthenticated, Unimplemented};
    let is_refusal = matches!(fault.code, Forbidden | InvalidArgument | NotFound | RateLimited | Unauthenticated | Unimplemented);
    is_refusal && caller.is_none_or(|caller| caller == Caller::Direct) || fault.reason == "CALLER_DENIED"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_that_nobody_else_logs_are_logged() {
        let fault = |code, reason| Fault::new("auth", code, reason, "a text");
        for (caller, code, reason, expected) in [
            (Some(Caller::Direct), ErrorCode::NotFound, "PROJECT_NOT_FOUND", true),
            (Some(Caller::Direct), ErrorCode::RateLimited, "RATE_LIMITED", true),
            (Some(Caller::Direct), ErrorCode::Conflict, "STALE", false),
            (Some(Caller::Direct), ErrorCode::Unavailable, "UNAVAILABLE", false),
            (None, ErrorCode::Unauthenticated, "TOKEN_INVALID", true),
            (Some(Caller::Gateway), ErrorCode::Unauthenticated, "SESSION_ENDED", false),
            (Some(Caller::Compile), ErrorCode::Forbidden, "CALLER_DENIED", true),
        ] {
            assert_eq!(is_logged(caller, &fault(code, reason)), expected, "{caller:?} {reason}");
        }
    }
}
