//! How many requests there may be at once. A request holds a waiting slot while its body arrives, and a working slot from then until its
//! response begins. A client that sends slowly, or never, takes no working slot. Each connection, address and person has only a share
//! of both kinds.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    body::HttpBody as _,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use chassis::{
    listen::{Connection, OnBehalfOf},
    share::{Holder, Percent, Share, Shares},
};
use proto::id::UserId;

use crate::{
    edge::request::RequestInfo,
    error::{Failure, share_exhausted},
};

/// Probes need no slot: they report the health of the process, not its load.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];
const WAITING: &str = "requests whose body is still arriving";
const WORKING: &str = "requests in work";

/// The slots of one listener.
#[derive(Clone)]
pub(crate) struct RequestSlots {
    waiting: Arc<Shares>,
    working: Arc<Shares>,
    /// All connections come from a proxy, so a connection does not stand for one client.
    proxied: bool,
}

impl RequestSlots {
    pub(crate) fn new(waiting: usize, working: usize, percent: Percent, proxied: bool) -> Self {
        Self { waiting: Shares::new(waiting, percent), working: Shares::new(working, percent), proxied }
    }

    fn take(&self, holder: Holder, is_working: bool) -> Result<Slot, Failure> {
        let share = if is_working { take_share(&self.working, &holder, WORKING) } else { take_share(&self.waiting, &holder, WAITING) }?;
        Ok(Slot(Arc::new(Mutex::new(SlotState { slots: self.clone(), holder, is_working, share }))))
    }
}

fn take_share(shares: &Arc<Shares>, holder: &Holder, what: &str) -> Result<Share, Failure> {
    shares.try_take(holder, 1).map_err(|exhausted| share_exhausted(exhausted, what))
}

/// The slot of one request, as an extension of the request. It is free again when the response begins.
#[derive(Clone)]
pub(crate) struct Slot(Arc<Mutex<SlotState>>);

struct SlotState {
    slots: RequestSlots,
    holder: Holder,
    is_working: bool,
    share: Share,
}

impl Slot {
    /// Counts the slot for a person as well.
    pub(crate) fn assign(&self, person: UserId) -> Result<(), Failure> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let what = if state.is_working { WORKING } else { WAITING };
        state.holder.person = Some(person);
        state.share.add_holder(&Holder { person: Some(person), ..Holder::default() }).map_err(|exhausted| share_exhausted(exhausted, what))
    }

    /// Exchanges the waiting slot for a working one: the body has arrived.
    pub(crate) fn start_work(&self) -> Result<(), Failure> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.is_working {
            state.share = take_share(&state.slots.working, &state.holder, WORKING)?;
            state.is_working = true;
        }
        Ok(())
    }

    pub(crate) fn holder(&self) -> Holder {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).holder
    }
}

/// The middleware that gives each request a slot. An event stream has a limit of its own once its response has begun.
pub(crate) async fn assign(State(slots): State<RequestSlots>, mut request: Request, next: Next) -> Response {
    if PROBES.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let connection = request.extensions().get::<Connection>().filter(|_| !slots.proxied).map(Connection::number);
    let address = request.extensions().get::<RequestInfo>().map(|info| info.address);
    let slot = match slots.take(Holder { connection, address, person: None }, request.body().is_end_stream()) {
        Ok(slot) => slot,
        Err(refusal) => return refusal.into_response(),
    };
    request.extensions_mut().insert(slot.clone());
    let mut response = next.run(request).await;
    if let Some(person) = slot.holder().person {
        response.extensions_mut().insert(OnBehalfOf(person));
    }
    response
}
