//! The baseline of the limiter without Redis, in its own process: a gRPC server that echoes the limiter's messages.

use std::{io::Write as _, process::ExitCode};

use anyhow::Result;
use proto::rate_limit::{
    CheckRequest, CheckResponse, ListPoliciesRequest, ListPoliciesResponse, PolicyDecision,
    rate_limit_service_server::{RateLimitService, RateLimitServiceServer},
};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

/// Prints the address and serves until the process is killed.
pub(crate) async fn serve() -> Result<ExitCode> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(std::io::stdout(), "ready: http://{}", listener.local_addr()?)?;
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder().add_service(RateLimitServiceServer::new(Echo)).serve_with_incoming(incoming).await?;
    Ok(ExitCode::SUCCESS)
}

struct Echo;

#[tonic::async_trait]
impl RateLimitService for Echo {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let decisions = request.into_inner().checks.into_iter().map(|check| {
            let mut decision =
                PolicyDecision { policy: check.policy, allowed: true, limit: 10_000, remaining: 9_999, ..PolicyDecision::default() };
            decision.reset_after.get_or_insert_default().seconds = 1;
            decision.window.get_or_insert_default().seconds = 1;
            decision
        });
        Ok(Response::new(CheckResponse { allowed: true, decisions: decisions.collect(), ..CheckResponse::default() }))
    }

    async fn list_policies(&self, _: Request<ListPoliciesRequest>) -> Result<Response<ListPoliciesResponse>, Status> {
        Ok(Response::new(ListPoliciesResponse::default()))
    }
}
