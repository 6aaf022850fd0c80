//! Sign-ins with a provider: a new person gets an account with an invite and signs in again, links another identity and unlinks it. An account
//! whose address nobody has verified yields to the person whose address the provider has verified.

use reqwest::{Method, StatusCode, header, redirect::Policy};
use serde_json::json;
use test_support::{
    Person,
    canary::Stopwatch,
    identity_provider::{IdentityProvider, NAME},
    person::PASSWORD,
};
use tokio::time::sleep;

use super::{Editor, PAUSE, POLL};
use crate::client::forms::Page;

const IDENTITIES: &str = "/account/identities";
const IDENTITIES_API: &str = "/api/auth/identities";
/// The cookies of a sign-in at the provider and of a session.
const FLOW_COOKIE: &str = "backlot_oauth";
const SESSION_COOKIE: &str = "backlot_session";

/// A person as the provider knows them.
struct Subject {
    id: String,
    email: String,
}

impl Subject {
    fn with_email(email: String) -> Self {
        Self { id: uuid::Uuid::now_v7().to_string(), email }
    }

    fn new() -> Self {
        Self::with_email(format!("{}@example.com", uuid::Uuid::now_v7().simple()))
    }
}

/// What the way to the provider is for.
#[derive(Clone, Copy)]
enum Purpose {
    SignIn,
    Link,
}

impl Editor {
    /// Uses identities of a new person, and takes over a new account.
    pub(super) async fn use_provider(&mut self, provider: &IdentityProvider) -> Option<()> {
        let mut owner = self.newcomer().await?;
        let mut visitor = owner.visitor()?;
        visitor.use_identities(provider).await?;
        let person = Subject::with_email(owner.client.people[0].email.clone());
        let taken = visitor.sign_in_at(provider, &person).await?;
        let (old, new) = (&owner.client.people[0].user_id, &taken.client.people[0].user_id);
        if old != new {
            return self.wrong(format!("the provider has verified the address of account {old}, and signs in to account {new}"));
        }
        owner.wait_until_refused("a session of an account that has yielded").await?;
        let refused = owner.try_sign_in(PASSWORD).await?;
        owner.used("the password of an account that has yielded", false, &refused)?;
        sleep(PAUSE).await;
        Some(())
    }

    async fn use_identities(&mut self, provider: &IdentityProvider) -> Option<()> {
        let person = Subject::new();
        let mut first = self.sign_in_at(provider, &person).await?;
        let mut second = self.sign_in_at(provider, &person).await?;
        let (one, other) = (&first.client.people[0].user_id, &second.client.people[0].user_id);
        if one != other {
            return self.wrong(format!("a person of the provider has the accounts {one} and {other}"));
        }
        let page = second.go_to(provider, (Purpose::Link, &Subject::new())).await?;
        let to = page.headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if to != format!("{IDENTITIES}?done=linked") {
            return self.wrong(format!("a link leads to {to:?}"));
        }
        let listed = second.get("list identities", IDENTITIES_API).await?;
        let kept = second.text_at(&listed, "/identities/0/id")?;
        let path = format!("{IDENTITIES_API}/{}", second.text_at(&listed, "/identities/1/id")?);
        // 404: an earlier attempt without an answer has unlinked it.
        second.call_or_not_found("unlink an identity", Method::DELETE, &path, json!({})).await?;
        // An earlier attempt to link may be carried out now, so there may be a second one.
        let listed = second.get("list identities", IDENTITIES_API).await?;
        if listed["identities"][0]["id"] != json!(kept) {
            self.client.record.violation(format!("the identity {kept} was not unlinked, and the list is {listed}"));
        }
        first.wait_until_refused("a session from before an identity was unlinked").await
    }

    /// Signs in at the provider. Returns an editor with the session.
    async fn sign_in_at(&mut self, provider: &IdentityProvider, person: &Subject) -> Option<Self> {
        let page = self.go_to(provider, (Purpose::SignIn, person)).await?;
        let Some(cookie) = cookie(&page, SESSION_COOKIE) else {
            return self.wrong(format!("a sign-in at a provider begins no session, but leads to {:?}", page.headers.get(header::LOCATION)));
        };
        let email = person.email.clone();
        let mut session = self.of_person(Person { cookie, email, ..self.client.people[0].clone() });
        let read = session.get("get the session", "/api/auth/session").await?;
        let user_id = session.text_at(&read, "/user/id")?;
        let person = Person { user_id, ..session.client.people[0].clone() };
        Some(session.of_person(person))
    }

    /// Goes to the provider and comes back, until the answer is accepted. Returns what the browser gets then.
    async fn go_to(&mut self, provider: &IdentityProvider, (purpose, person): (Purpose, &Subject)) -> Option<Page> {
        let (what, clock) = ("return from a provider", Stopwatch::start());
        while clock.elapsed() < self.client.turn_limit {
            let started = match purpose {
                Purpose::SignIn => {
                    let Some(invite) = self.client.invite().await else { continue };
                    let fields = [("action", "provider"), ("provider", NAME), ("token", invite.as_str())];
                    self.client.form("go to a provider", "/account/sign-up", &fields).await?
                }
                Purpose::Link => self.client.form("link an identity", IDENTITIES, &[("action", "link"), ("provider", NAME)]).await?,
            };
            let page = match started {
                Ok(page) => page,
                Err(refused) => return self.refused("go to a provider", refused),
            };
            let refresh = page.headers.get(header::REFRESH).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let back = provider.authorize(refresh.trim_start_matches("0;url="), &person.id, &person.email);
            let (Ok(back), Some(secret)) = (back, cookie(&page, FLOW_COOKIE)) else {
                return self.wrong(format!("the way to a provider leads to {refresh:?}"));
            };
            let cookie = format!("{}; {secret}", self.client.people[0].cookie);
            let mut browser = self.of_person(Person { cookie, ..self.client.people[0].clone() });
            match browser.client.file(what, &back).await? {
                Ok(page) => return Some(page),
                // An earlier attempt without an answer has used the state (400), or is not over yet (409).
                Err((StatusCode::BAD_REQUEST | StatusCode::CONFLICT, _)) => sleep(POLL).await,
                Err(refused) => return self.refused(what, refused),
            }
        }
        self.wrong(format!("no answer of the provider was accepted within {:?}", self.client.turn_limit))
    }

    /// An editor in a browser that is signed in nowhere. It follows no redirect, because the cookies of sign-ins come with them.
    fn visitor(&mut self) -> Option<Self> {
        let http = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().ok()?;
        let cookie = "visitor=1".to_owned();
        Some(self.of_person(Person { http, cookie, ..self.client.people[0].clone() }))
    }
}

/// The cookie of an answer whose name begins so, as `name=value`.
fn cookie(page: &Page, name: &str) -> Option<String> {
    let lines = page.headers.get_all(header::SET_COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.filter_map(|line| line.split(';').next());
    pairs.find(|pair| pair.starts_with(name)).map(str::to_owned)
}
