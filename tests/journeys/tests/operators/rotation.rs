//! Row A13 of the test programme: the cluster secret and the signing keys are replaced while clients work at two gateways, and nothing is refused.
//! Each role is a process behind an address that stays, as behind a service of Kubernetes. The processes that are replaced drain, so a sign-in is
//! sent once: the services repeat what a draining process refuses. (A call whose process is killed may have been handled. It answers 503.) Other
//! requests may get 503 from the signal to the end of a process, and at no other time. No process ends while the signing keys rotate.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use chassis::{
    task,
    testing::{self, TestRedis},
};
use proto::auth::{GetKeySetRequest, auth_service_client::AuthServiceClient};
use reqwest::{
    Method, RequestBuilder, StatusCode,
    header::{self, HeaderMap},
};
use serde_json::{Value, json};
use test_support::{
    Person,
    cluster::{OPEN_POLICIES, pool},
    grpc,
    person::PASSWORD,
    process::Launch,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    process::Child,
    sync::watch,
    task::JoinHandle,
};
use url::Url;

use crate::{
    refusals::Refusals,
    roles::{free_address, ready, start, terminate},
};

const OLD: &str = "c1d9e0a47b36f5281e90ac74d35b6f12";
const NEW: &str = "7f3ab81e6c20d945b3f81a6e9c07d254";
/// The first and the second secret of each round, as operations.md has them. The round before the first one has the old secret only.
const ROUNDS: [(&str, Option<&str>); 4] = [(OLD, None), (OLD, Some(NEW)), (NEW, Some(OLD)), (NEW, None)];
/// The roles of a cluster with one replica of auth, and with two.
const ONE_AUTH: [&str; 7] = ["auth", "agent-streaming", "project-storage", "rate-limit", "compile", "gateway", "gateway"];
const TWO_AUTHS: [&str; 8] = ["auth", "auth", "agent-streaming", "project-storage", "rate-limit", "compile", "gateway", "gateway"];
/// Clients that work at the same time.
const CLIENTS: usize = 3;
/// The limit for all clients to do their work again, on a busy machine.
const AGAIN_WITHIN: Duration = Duration::from_secs(120);
const STARTED_WITHIN: Duration = Duration::from_secs(60);

/// A TCP forwarder. Its address stays while the process behind it is replaced.
struct Forwarder {
    address: SocketAddr,
    target: watch::Sender<Option<SocketAddr>>,
}

impl Forwarder {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let target = watch::Sender::new(None);
        let mut behind = target.subscribe();
        task::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                // New connections wait for the first process.
                let Ok(Some(to)) = behind.wait_for(Option::is_some).await.map(|to| *to) else { return };
                task::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(to).await else { return };
                    // Either side may close.
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Ok(Self { address, target })
    }
}

/// A role, its address, and its present process.
struct Place {
    role: &'static str,
    front: Forwarder,
    /// The address of the replica of auth that it calls.
    auth: SocketAddr,
    /// Of a gateway.
    previews: Option<Forwarder>,
    process: Option<(String, Child)>,
}

impl Place {
    /// Without an address of auth it is one.
    async fn new(role: &'static str, auth: Option<SocketAddr>) -> Result<Self> {
        let (front, previews) = (Forwarder::start().await?, if role == "gateway" { Some(Forwarder::start().await?) } else { None });
        let auth = auth.unwrap_or(front.address);
        Ok(Self { role, front, auth, previews, process: None })
    }

    /// Starts a process with these secrets, and sends new connections to it. The previous process, which still has the old ones, is returned.
    async fn replace(&mut self, launch: &Launch, secrets: (&str, Option<&str>)) -> Result<Option<(String, Child)>> {
        let address = free_address().await?;
        let mut settings = vec![("BACKLOT_CLUSTER_SECRET", secrets.0.to_owned()), ("BACKLOT_AUTH_URL", format!("http://{}", self.auth))];
        settings.extend(secrets.1.map(|previous| ("BACKLOT_CLUSTER_SECRET_PREVIOUS", previous.to_owned())));
        if let Some(previews) = &self.previews {
            let listen = free_address().await?;
            settings.push(("BACKLOT_LISTEN", address.to_string()));
            settings.push(("BACKLOT_PREVIEW_LISTEN", listen.to_string()));
            settings.push(("BACKLOT_PREVIEW_URL", format!("http://{{preview}}.localhost:{}", previews.address.port())));
            settings.push(("BACKLOT_METRICS_LISTEN", "none".to_owned()));
            let next = start(launch, self.role, &settings)?;
            ready(&format!("http://{address}")).await?;
            previews.target.send_replace(Some(listen));
            self.front.target.send_replace(Some(address));
            return Ok(self.process.replace(next));
        }
        settings.push(("BACKLOT_GRPC_LISTEN", address.to_string()));
        let next = start(launch, self.role, &settings)?;
        let probe = launch.clone().set("BACKLOT_GRPC_LISTEN", &address.to_string());
        testing::eventually(STARTED_WITHIN, async || {
            probe.command(&["health", self.role]).output().await.ok()?.status.success().then_some(())
        })
        .await;
        self.front.target.send_replace(Some(address));
        Ok(self.process.replace(next))
    }
}

/// A cluster of processes, and clients that work until they are stopped.
struct Rolling {
    launch: Launch,
    places: Vec<Place>,
    database: String,
    stop: Arc<AtomicBool>,
    /// How often each client has done its work.
    done: Arc<Vec<AtomicUsize>>,
    refusals: Arc<Refusals>,
    clients: Vec<JoinHandle<Result<()>>>,
    _engines: (tempfile::TempDir, TestRedis),
}

impl Rolling {
    /// The replicas of auth come first. The others call one of them each, in turn.
    async fn start(name: &str, roles: &[&'static str]) -> Result<Self> {
        let data = tempfile::tempdir()?;
        let policies = data.path().join("policies.yaml");
        std::fs::write(&policies, OPEN_POLICIES)?;
        let database = testing::database_url(name).await;
        let redis = testing::redis().await;
        let mut launch = Launch::new(env!("CARGO_BIN_EXE_backlot-under-test"), &data.path().join("data"))
            .set("DATABASE_URL", &database)
            .set("REDIS_URL", &redis.url)
            .set("BACKLOT_POLICIES", &policies.to_string_lossy())
            .set("BACKLOT_EDGE_PER_SECOND", "100000")
            .set("BACKLOT_EDGE_BURST", "100000")
            .set("BACKLOT_DEMO_PACE", "1ms");
        let mut places: Vec<Place> = Vec::new();
        let auths = roles.iter().filter(|role| **role == "auth").count();
        for (number, role) in roles.iter().copied().enumerate() {
            let place = Place::new(role, places.get(number % auths).map(|auth| auth.front.address)).await?;
            if !["auth", "gateway"].contains(&role) {
                launch = launch
                    .set(&format!("BACKLOT_{}_URL", role.to_uppercase().replace('-', "_")), &format!("http://{}", place.front.address));
            }
            places.push(place);
        }
        for place in &mut places {
            place.replace(&launch, ROUNDS[0]).await?;
        }
        let gateways: Vec<_> = places.iter().filter(|place| place.previews.is_some()).map(|place| place.front.address).collect();
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new((0..CLIENTS).map(|_| AtomicUsize::new(0)).collect::<Vec<_>>()));
        let refusals = Arc::new(Refusals::default());
        let clients = (0..CLIENTS).map(|number| {
            let client = Client { gateways: gateways.clone(), number, refusals: Arc::clone(&refusals) };
            task::spawn(client.work(Arc::clone(&stop), Arc::clone(&done)))
        });
        let clients = clients.collect();
        let rolling = Self { launch, places, database, stop, done, refusals, clients, _engines: (data, redis) };
        rolling.everybody_works().await?;
        Ok(rolling)
    }

    /// Replaces the process at a place while the clients work. Both processes serve for a while.
    async fn replace(&mut self, at: usize, secrets: (&str, Option<&str>)) -> Result<()> {
        let before = self.places[at].replace(&self.launch, secrets).await?;
        self.everybody_works().await?;
        let signalled = Instant::now();
        terminate(before.context("a process")?).await?;
        self.refusals.ended(signalled);
        self.everybody_works().await
    }

    /// Waits until each client has done its work from the beginning to the end.
    async fn everybody_works(&self) -> Result<()> {
        let until: Vec<_> = self.done.iter().map(|done| done.load(Ordering::SeqCst) + 2).collect();
        let is_done = || self.done.iter().zip(&until).all(|(done, until)| done.load(Ordering::SeqCst) >= *until);
        let has_failed = || self.clients.iter().any(JoinHandle::is_finished);
        testing::eventually(AGAIN_WITHIN, async || (is_done() || has_failed()).then_some(())).await;
        ensure!(!has_failed() || self.stop.load(Ordering::SeqCst), "a client has stopped");
        Ok(())
    }

    /// Stops the clients. It fails if one of their requests has failed, or was refused while no process ended.
    async fn end(self, outcome: Result<()>) -> Result<()> {
        self.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.await??;
        }
        outcome?;
        self.refusals.check()?;
        for place in self.places.into_iter().rev() {
            terminate(place.process.context("a process")?).await?;
        }
        Ok(())
    }
}

struct Client {
    gateways: Vec<SocketAddr>,
    number: usize,
    refusals: Arc<Refusals>,
}

impl Client {
    /// A sign-in, a save, a preview and a turn in each round, at both gateways in turn.
    async fn work(self, stop: Arc<AtomicBool>, done: Arc<Vec<AtomicUsize>>) -> Result<()> {
        let url = |offset: usize| format!("http://{}", self.gateways[offset % self.gateways.len()]);
        let mut person = Person::sign_up(&url(self.number)).await?;
        // A connection that is kept may be closed by the process that ends, at the moment of the next request.
        person.http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build()?;
        for round in 0.. {
            if stop.load(Ordering::SeqCst) {
                return Ok(());
            }
            let here = sign_in(&Person { url: url(self.number + round), ..person.clone() }).await.context("a sign-in")?;
            let there = Person { url: url(self.number + round + 1), ..here.clone() };
            let page = format!("<h1>{round}</h1>");
            let changes = json!([{ "path": "index.html", "write": { "text": page } }]);
            let saved = self.post(&here, "/api/projects/save", json!({ "draftId": "d", "changes": changes })).await.context("a save")?;
            let project = saved["project"]["id"].as_str().context("a project")?.to_owned();
            let preview = self.post(&there, &format!("/api/projects/{project}/previews"), json!({})).await.context("a preview")?;
            let shown = self.shown(&there, preview["url"].as_str().context("a URL")?).await.context("the page of a preview")?;
            ensure!(shown.contains(&page), "{shown}");
            let turn = self.post(&there, "/api/turns", json!({ "projectId": project, "prompt": "a counter" })).await.context("a turn")?;
            self.completed(&here, turn["id"].as_str().context("an id")?).await?;
            done[self.number].fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Sends the request until its answer is not 503, which asks a client to repeat it. Any other refusal is an error.
    async fn answer(&self, request: RequestBuilder) -> Result<(HeaderMap, String)> {
        testing::eventually(AGAIN_WITHIN, async || {
            let attempt = async {
                let sent = Instant::now();
                let (status, headers, text) = first_answer(request.try_clone().context("a request that can be repeated")?).await?;
                if status == StatusCode::SERVICE_UNAVAILABLE {
                    self.refusals.add(sent, &text);
                    return anyhow::Ok(None);
                }
                ensure!(status.is_success(), "{status} {text}");
                Ok(Some((headers, text)))
            };
            attempt.await.transpose()
        })
        .await
    }

    async fn post(&self, person: &Person, path: &str, body: Value) -> Result<Value> {
        let key = uuid::Uuid::new_v4().simple().to_string();
        let (_, text) = self.answer(person.request(Method::POST, path).header("idempotency-key", key).json(&body)).await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The page of a preview. Its host is only in the header, because no resolver knows it.
    async fn shown(&self, person: &Person, url: &str) -> Result<String> {
        let url = Url::parse(url)?;
        let (host, port) = (url.host_str().context("a host")?, url.port().context("a port")?);
        let request = person.http.get(format!("http://127.0.0.1:{port}{}", url.path())).header(header::HOST, format!("{host}:{port}"));
        Ok(self.answer(request).await?.1)
    }

    async fn completed(&self, person: &Person, turn: &str) -> Result<()> {
        testing::eventually(AGAIN_WITHIN, async || {
            let state = async {
                let (_, text) = self.answer(person.request(Method::GET, &format!("/api/turns/{turn}"))).await?;
                let turn: Value = serde_json::from_str(&text)?;
                match turn["state"].as_str().unwrap_or_default() {
                    "TURN_STATE_COMPLETED" => anyhow::Ok(Some(())),
                    "TURN_STATE_ACCEPTED" | "TURN_STATE_QUEUED" | "TURN_STATE_RUNNING" | "TURN_STATE_COMMITTING" => Ok(None),
                    _ => Err(anyhow!("a turn has ended: {turn}")),
                }
            };
            state.await.transpose()
        })
        .await
    }
}

/// The answer to a request that is sent once.
async fn first_answer(request: RequestBuilder) -> Result<(StatusCode, HeaderMap, String)> {
    let response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    Ok((status, headers, response.text().await?))
}

async fn sign_in(person: &Person) -> Result<Person> {
    let body = json!({ "email": person.email, "password": PASSWORD });
    let (status, headers, text) = first_answer(person.http.post(format!("{}/api/auth/signin", person.url)).json(&body)).await?;
    ensure!(status.is_success(), "{status} {text}");
    let cookie = headers.get(header::SET_COOKIE).context("no cookie")?.to_str()?.split(';').next().unwrap_or_default().to_owned();
    Ok(Person { cookie, ..person.clone() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a13_work_goes_on_while_the_secret_of_all_roles_is_replaced() -> Result<()> {
    let mut cluster = Rolling::start("secrets", &ONE_AUTH).await?;
    let rotate = async |cluster: &mut Rolling| {
        for round in &ROUNDS[1..] {
            for at in 0..cluster.places.len() {
                let role = cluster.places[at].role;
                cluster.replace(at, *round).await.with_context(|| format!("{role} gets {round:?}"))?;
            }
        }
        let auth = pool(&cluster.database, "auth").await?;
        let keys: i64 = sqlx::query_scalar("select count(*) from signing_keys").fetch_one(&auth).await?;
        ensure!(keys == 1, "the new secret opens the signing key of the old one, but there are {keys}");
        Ok(())
    };
    let outcome = rotate(&mut cluster).await;
    cluster.end(outcome).await
}

/// Waits until each replica of auth publishes these keys. The first one signs.
async fn publish(cluster: &Rolling, expected: &[&str]) -> Result<()> {
    for place in cluster.places.iter().filter(|place| place.role == "auth") {
        let auth = AuthServiceClient::new(grpc::connect(&format!("http://{}", place.front.address)).await?);
        testing::eventually(AGAIN_WITHIN, async || {
            let answer = auth.clone().get_key_set(GetKeySetRequest {}).await.ok()?;
            let kids: Vec<_> = answer.into_inner().keys.into_iter().map(|key| key.kid).collect();
            (kids == expected).then_some(())
        })
        .await;
    }
    Ok(())
}

/// The keys get older in the database. So each replica decides what is due: a new key, its first signature, the end of the old one.
#[tokio::test(flavor = "multi_thread")]
async fn a13_work_goes_on_while_the_signing_key_is_replaced() -> Result<()> {
    let cluster = Rolling::start("signing", &TWO_AUTHS).await?;
    let rotate = async || {
        let auth = pool(&cluster.database, "auth").await?;
        let age = async |by: &str| {
            let update = "update signing_keys set created_at = created_at - $1::text::interval";
            sqlx::query(update).bind(by).execute(&auth).await
        };
        let old: String = sqlx::query_scalar("select kid from signing_keys").fetch_one(&auth).await?;
        age("91 days").await?;
        let new: String = testing::eventually(AGAIN_WITHIN, async || {
            let select = sqlx::query_scalar("select kid from signing_keys where kid <> $1").bind(&old);
            select.fetch_optional(&auth).await.ok().flatten()
        })
        .await;
        publish(&cluster, &[&old, &new]).await?;
        cluster.everybody_works().await?;
        age("16 minutes").await?;
        publish(&cluster, &[&new, &old]).await?;
        // Afterwards no request has a token of the old key.
        cluster.everybody_works().await?;
        age("16 minutes").await?;
        publish(&cluster, &[&new]).await?;
        cluster.everybody_works().await
    };
    let outcome = rotate().await;
    cluster.end(outcome).await
}
