//! Which errors of a connection prove that a call has not reached a handler. All others leave it open, such as a connection that breaks.

use std::error::Error;

use h2::Reason;
use tonic::ConnectError;

/// Whether the error, or a cause of it, proves that no handler has the call.
pub(super) fn is_unsent(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source()).any(is_proof)
}

fn is_proof(cause: &(dyn Error + 'static)) -> bool {
    // No connection was made.
    cause.is::<ConnectError>()
        // The connection ended before hyper had begun to send the request.
        || cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled)
        || cause.downcast_ref::<h2::Error>().is_some_and(is_refused)
}

/// Whether the peer has promised that it does not handle the stream. h2 has the error of a GOAWAY only for streams above the last one that the
/// frame names, and for requests whose message was not yet sent; a handler gets complete messages. Streams up to the last one end with an I/O
/// error if they are not answered.
fn is_refused(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM))
}

#[cfg(test)]
mod tests {
    use std::io;

    use tonic::{TimeoutExpired, body::Body, transport::Endpoint};
    use tower::ServiceExt as _;

    use super::*;
    use crate::client::transport_error::TransportError;

    #[test]
    fn only_a_proof_counts() {
        let refused = || ConnectError("connection refused".into());
        let table: [(&str, Box<dyn Error + Send + Sync>, bool); 6] = [
            ("no connection", Box::new(refused()), true),
            ("no connection, as a deeper cause", Box::new(TransportError(Box::new(refused()))), true),
            ("a connection that breaks", Box::new(io::Error::from(io::ErrorKind::ConnectionReset)), false),
            ("a connection that ends", Box::new(io::Error::from(io::ErrorKind::BrokenPipe)), false),
            ("a deadline", Box::new(TimeoutExpired(())), false),
            ("a refusal that is not the peer's", Box::new(h2::Error::from(Reason::REFUSED_STREAM)), false),
        ];
        for (case, cause, expected) in table {
            assert_eq!(is_unsent(&TransportError(cause)), expected, "{case}");
        }
    }

    #[tokio::test]
    async fn a_channel_without_a_server_proves_it() {
        // The port is free again when the listener is dropped.
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        let error = channel.oneshot(http::Request::new(Body::empty())).await.expect_err("no server");
        assert!(is_unsent(&error), "{error:?}");
    }
}
