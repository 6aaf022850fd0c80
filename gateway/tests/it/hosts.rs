//! Requests for unknown hosts, and requests without a host.

use tokio::io::AsyncWriteExt as _;

use crate::harness::{read_to_end, start};

#[tokio::test]
async fn only_known_hosts_are_served_except_for_probes() {
    let gateway = start(&[("BACKLOT_HOSTS", "inside.example")]).await;
    for (head, status, reason) in [
        ("GET /openapi.json HTTP/1.1\r\nhost: localhost", 200, ""),
        ("GET /openapi.json HTTP/1.1\r\nhost: inside.example:80", 200, ""),
        ("GET http://inside.example/openapi.json HTTP/1.1\r\nhost: inside.example", 200, ""),
        ("GET /openapi.json HTTP/1.1\r\nhost: evil.example", 421, "HOST_UNKNOWN"),
        ("GET http://evil.example/openapi.json HTTP/1.1\r\nhost: localhost", 421, "HOST_UNKNOWN"),
        ("POST /api/auth/signup HTTP/1.1\r\nhost: evil.example\r\ncontent-length: 0", 421, "HOST_UNKNOWN"),
        ("GET /openapi.json HTTP/1.1", 400, "HOST_INVALID"),
        ("GET /openapi.json HTTP/1.1\r\nhost: localhost\r\nhost: localhost", 400, "HOST_INVALID"),
        ("GET /openapi.json HTTP/1.1\r\nhost: a b", 400, "HOST_INVALID"),
        ("GET /healthz HTTP/1.1\r\nhost: gateway", 200, ""),
        ("GET /metrics HTTP/1.1\r\nhost: gateway:8080", 421, "HOST_UNKNOWN"),
    ] {
        let mut stream = gateway.connect().await;
        stream.write_all(format!("{head}\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(reason), "{head}: {answer}");
    }
}
