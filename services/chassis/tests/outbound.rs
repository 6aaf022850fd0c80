//! The guard of outbound addresses against a listener that must not be reached (row A11 of the reliability reference).

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chassis::{
    config::Setting as _,
    outbound::{Allowed, Client, Guard},
    task,
};
use reqwest::{
    Method,
    dns::{Addrs, Name, Resolve, Resolving},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};

/// Counts connections and answers each with a redirect to itself.
struct Sinkhole {
    port: u16,
    connections: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Sinkhole {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Sinkhole {
    /// On every address of this machine.
    async fn start() -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").await.expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let mut sinkhole = Self { port, connections: Arc::default(), tasks: Vec::new() };
        sinkhole.listen(listener);
        // Machines without IPv6 have only the first one.
        if let Ok(listener) = TcpListener::bind(("::1", port)).await {
            sinkhole.listen(listener);
        }
        sinkhole
    }

    fn listen(&mut self, listener: TcpListener) {
        let (count, port) = (Arc::clone(&self.connections), self.port);
        self.tasks.push(task::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let answer = format!(
                    "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{port}/again\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                // A socket that closes with unread bytes resets the connection.
                let _ = socket.read(&mut [0; 4_096]).await;
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        }));
    }

    fn seen(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Answers the `n`th question with the `n`th list, and all further ones with the last.
struct Names {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Resolve for Names {
    fn resolve(&self, _: Name) -> Resolving {
        let n = self.asked.fetch_add(1, Ordering::SeqCst).min(self.answers.len() - 1);
        let found: Vec<SocketAddr> = self.answers[n].iter().map(|address| SocketAddr::new(*address, 0)).collect();
        Box::pin(async move { Ok(Box::new(found.into_iter()) as Addrs) })
    }
}

fn names(answers: &[&[&str]]) -> Arc<Names> {
    let parse = |list: &&[&str]| list.iter().map(|text| text.parse().expect("an address")).collect();
    Arc::new(Names { answers: answers.iter().map(parse).collect(), asked: AtomicUsize::new(0) })
}

fn client(guard: &Guard) -> Client {
    chassis::install_crypto();
    let builder = reqwest::Client::builder().connect_timeout(Duration::from_millis(200)).timeout(Duration::from_secs(2));
    guard.client(builder.pool_max_idle_per_host(0)).expect("a client")
}

/// Whether the address was reached.
async fn reach(client: &Client, guard: &Guard, text: &str) -> bool {
    let Ok(url) = guard.parse(text) else { return false };
    let Ok(request) = client.request(Method::GET, url) else { return false };
    request.send().await.is_ok()
}

/// The spellings of one address of IPv4 that parsers of URLs know, and some that they do not.
fn spellings(address: Ipv4Addr) -> Vec<String> {
    let [a, b, c, d] = address.octets();
    let bits = address.to_bits();
    let (tail3, tail2) = (bits & 0x00ff_ffff, bits & 0xffff);
    let mut hosts: Vec<String> = Vec::new();
    let number =
        |n: u32| [format!("{n}"), format!("0x{n:x}"), format!("0X{n:X}"), format!("0{n:o}"), format!("0x0000{n:x}"), format!("000{n:o}")];
    hosts.extend(number(bits));
    for first in number(a.into()) {
        hosts.extend(number(tail3).iter().map(|rest| format!("{first}.{rest}")));
        for second in number(b.into()) {
            hosts.extend(number(tail2).iter().take(3).map(|rest| format!("{first}.{second}.{rest}")));
            hosts.push(format!("{first}.{second}.{c}.{d}"));
        }
    }
    hosts.push(address.to_string().replace('.', "\u{3002}"));
    hosts.push(address.to_string().replace('.', "%2e"));
    hosts.push(
        address
            .to_string()
            .chars()
            .map(|digit| char::from_u32(u32::from(digit) + 0xfee0).filter(|_| digit != '.').unwrap_or('.'))
            .collect(),
    );
    hosts.push(format!("{address}."));
    let (high, low) = (bits >> 16, bits & 0xffff);
    for prefix in ["::ffff:", "0:0:0:0:0:ffff:", "64:ff9b::", "::", "64:ff9b:1::"] {
        hosts.push(format!("[{prefix}{address}]"));
        hosts.push(format!("[{prefix}{high:x}:{low:x}]"));
    }
    hosts.push(format!("[2002:{high:x}:{low:x}::1]"));
    hosts.push(format!("[2001:0:{high:x}:{low:x}::]"));
    hosts
}

#[tokio::test]
async fn a11_no_spelling_of_a_private_address_reaches_it() {
    let sinkhole = Sinkhole::start().await;
    let guard = Guard::new(Allowed::default());
    let client = client(&guard);
    let port = sinkhole.port;
    let mut urls: BTreeSet<String> = BTreeSet::new();
    for address in ["127.0.0.1", "127.0.0.2", "127.255.255.254", "0.0.0.0", "10.0.0.1", "169.254.169.254", "192.168.1.1"] {
        for host in spellings(address.parse().expect("an address")) {
            for scheme in ["http", "https"] {
                urls.insert(format!("{scheme}://{host}:{port}/"));
            }
            urls.insert(format!("https://user:secret@{host}:{port}/"));
            urls.insert(format!("https://api.example.com@{host}:{port}/"));
            urls.insert(format!("https://api.example.com\\@{host}:{port}/"));
            urls.insert(format!("https:\\\\{host}:{port}/"));
            urls.insert(format!("https:/{host}:{port}/"));
            urls.insert(format!("https://\t{host}:{port}/"));
        }
    }
    for host in [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "lo\u{ad}calhost",
        "ｌｏｃａｌｈｏｓｔ",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::]",
        "[::1%25lo]",
    ] {
        urls.extend(["http", "https"].map(|scheme| format!("{scheme}://{host}:{port}/")));
    }
    assert!(urls.len() >= 2_000, "{} addresses", urls.len());
    for url in &urls {
        assert!(!reach(&client, &guard, url).await, "{url}");
    }
    assert_eq!(sinkhole.seen(), 0, "of {} addresses", urls.len());
}

#[tokio::test]
async fn a11_a_name_is_checked_whenever_it_is_resolved() {
    let sinkhole = Sinkhole::start().await;
    let url = format!("https://rebinding.example:{}/", sinkhole.port);
    // 192.0.2.1 stands for a public address. It is allowed here, and nobody has it.
    let allowed = || Allowed::parse("192.0.2.1").expect("valid");
    for answers in [
        &[&["127.0.0.1"][..]][..],
        &[&["192.0.2.1", "127.0.0.1"]],
        &[&["127.0.0.1", "192.0.2.1"]],
        &[&["::1"]],
        &[&["::ffff:127.0.0.1"]],
        &[&["64:ff9b::7f00:1"]],
        &[&["0.0.0.0"]],
        &[&["192.0.2.1"], &["127.0.0.1"]],
        &[&["192.0.2.1"], &["192.0.2.1"], &["::1", "127.0.0.1"]],
    ] {
        let names = names(answers);
        let guard = Guard::with_names(allowed(), Arc::clone(&names) as Arc<dyn Resolve>);
        let client = client(&guard);
        for _ in 0..answers.len() + 2 {
            assert!(!reach(&client, &guard, &url).await, "{answers:?}");
        }
        assert!(names.asked.load(Ordering::SeqCst) > answers.len(), "each connection asks again");
    }
    assert_eq!(sinkhole.seen(), 0);
}

#[tokio::test]
async fn an_allowed_address_is_reached_and_its_redirect_is_not_followed() {
    let sinkhole = Sinkhole::start().await;
    let port = sinkhole.port;
    let by_network = Guard::new(Allowed::parse("127.0.0.1").expect("valid"));
    assert!(reach(&client(&by_network), &by_network, &format!("http://127.0.0.1:{port}/")).await);
    assert!(reach(&client(&by_network), &by_network, &format!("http://0x7f.1:{port}/")).await);
    let to_loopback = names(&[&["127.0.0.1"]]);
    let by_name = Guard::with_names(Allowed::parse("models.internal").expect("valid"), to_loopback);
    assert!(reach(&client(&by_name), &by_name, &format!("http://models.internal:{port}/")).await);
    assert!(!reach(&client(&by_name), &by_name, &format!("http://127.0.0.1:{port}/")).await);
    assert!(!reach(&client(&by_name), &by_name, &format!("https://other.internal:{port}/")).await);
    assert_eq!(sinkhole.seen(), 3, "one connection each, and none for the redirects");
}
