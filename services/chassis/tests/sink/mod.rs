//! An HTTP server that accepts all requests and keeps their bodies.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// Request lines and bodies.
type Requests = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

pub(crate) struct Sink {
    pub(crate) url: String,
    requests: Requests,
}

impl Sink {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Requests::default();
        let all = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let requests = all.clone();
                std::thread::spawn(move || serve(stream, &requests));
            }
        });
        Self { url, requests }
    }

    pub(crate) fn bodies(&self) -> Vec<Vec<u8>> {
        self.bodies_of("")
    }

    pub(crate) fn bodies_of(&self, path: &str) -> Vec<Vec<u8>> {
        self.requests.lock().unwrap().iter().filter(|(line, _)| line.contains(path)).map(|(_, body)| body.clone()).collect()
    }
}

fn serve(stream: TcpStream, requests: &Requests) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request).unwrap_or(0) == 0 {
            return;
        }
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let line = line.trim().to_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        requests.lock().unwrap().push((request, body));
        if writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}
