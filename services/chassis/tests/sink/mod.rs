//! An HTTP server that takes everything and keeps it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

type Kept = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

pub(crate) struct Sink {
    pub(crate) url: String,
    kept: Kept,
}

impl Sink {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let kept = Kept::default();
        let all = kept.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = all.clone();
                std::thread::spawn(move || serve(stream, &kept));
            }
        });
        Self { url, kept }
    }

    pub(crate) fn bodies(&self) -> Vec<Vec<u8>> {
        self.bodies_of("")
    }

    pub(crate) fn bodies_of(&self, path: &str) -> Vec<Vec<u8>> {
        self.kept.lock().unwrap().iter().filter(|(requested, _)| requested.contains(path)).map(|(_, body)| body.clone()).collect()
    }
}

fn serve(stream: TcpStream, kept: &Kept) {
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
        kept.lock().unwrap().push((request, body));
        if writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}
