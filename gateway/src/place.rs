//! Where a request stands. While its body is on the way it is one of many that may wait; once the body is whole it takes one of the
//! slots for requests in work. So a client that sends slowly, or never, takes no slot, and each connection, address and person
//! has only a share of both.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    body::HttpBody as _,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use chassis::{
    listen::{Connection, OnBehalfOf},
    share::{Exhausted, Holder, Percent, Share, Shares},
};
use proto::id::UserId;

use crate::{
    error::{Failure, SERVICE},
    request::Arrival,
};

/// Never refused for what others do: a probe must say how the process is, not how busy.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];
const WAITING: &str = "requests whose body is on the way";
const WORKING: &str = "requests in work";

/// How many requests there may be.
#[derive(Clone)]
pub(crate) struct Places {
    waiting: Arc<Shares>,
    working: Arc<Shares>,
    /// All connections come from a proxy, so none of them is one client's.
    proxied: bool,
}

impl Places {
    pub(crate) fn new(waiting: usize, working: usize, percent: Percent, proxied: bool) -> Self {
        Self { waiting: Shares::new(waiting, percent), working: Shares::new(working, percent), proxied }
    }

    fn take(&self, holder: Holder, whole: bool) -> Result<Place, Failure> {
        let share = if whole { taken(&self.working, &holder, WORKING) } else { taken(&self.waiting, &holder, WAITING) }?;
        Ok(Place(Arc::new(Mutex::new(Stand { places: self.clone(), holder, whole, share }))))
    }
}

fn taken(shares: &Arc<Shares>, holder: &Holder, what: &str) -> Result<Share, Failure> {
    shares.try_take(holder, 1).map_err(|exhausted| refusal(exhausted, what))
}

pub(crate) fn refusal(exhausted: Exhausted, what: &str) -> Failure {
    exhausted.fault(SERVICE, what).into()
}

/// The place of one request, as its extension; given back when its answer begins.
#[derive(Clone)]
pub(crate) struct Place(Arc<Mutex<Stand>>);

struct Stand {
    places: Places,
    holder: Holder,
    whole: bool,
    share: Share,
}

impl Place {
    /// Says whose request it is, so that it counts for them too.
    pub(crate) fn belongs_to(&self, person: UserId) -> Result<(), Failure> {
        let mut stand = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let what = if stand.whole { WORKING } else { WAITING };
        stand.holder.person = Some(person);
        stand.share.also(&Holder { person: Some(person), ..Holder::default() }).map_err(|exhausted| refusal(exhausted, what))
    }

    /// The body has arrived: the request takes a slot.
    pub(crate) fn whole(&self) -> Result<(), Failure> {
        let mut stand = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !stand.whole {
            stand.share = taken(&stand.places.working, &stand.holder, WORKING)?;
            stand.whole = true;
        }
        Ok(())
    }

    pub(crate) fn holder(&self) -> Holder {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).holder
    }
}

/// The middleware that gives a request its place. Event streams have a limit of their own once they have begun.
pub(crate) async fn given(State(places): State<Places>, mut request: Request, next: Next) -> Response {
    if PROBES.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let connection = request.extensions().get::<Connection>().filter(|_| !places.proxied).map(Connection::number);
    let address = request.extensions().get::<Arrival>().map(|arrival| arrival.address);
    let place = match places.take(Holder { connection, address, person: None }, request.body().is_end_stream()) {
        Ok(place) => place,
        Err(refusal) => return refusal.into_response(),
    };
    request.extensions_mut().insert(place.clone());
    let mut response = next.run(request).await;
    if let Some(person) = place.holder().person {
        response.extensions_mut().insert(OnBehalfOf(person));
    }
    response
}
