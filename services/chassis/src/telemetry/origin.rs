//! Which service of the process a span belongs to. Several roles can share a process, and most spans are made by libraries:
//! a span belongs to the service that it names in its field `svc`, else to the crate that made it, else to its parent's.

use std::sync::OnceLock;

use opentelemetry::{KeyValue, trace::TraceContextExt as _};
use tracing::{
    Dispatch, Subscriber,
    dispatcher::WeakDispatch,
    field::{Field, Visit},
    span::{Attributes, Id},
};
use tracing_subscriber::{layer::Context, registry::LookupSpan};

use crate::caller::Caller;

/// The attribute by which the exporter sorts spans.
pub(super) const ATTRIBUTE: &str = "svc";

/// The services whose spans are told apart.
pub(super) const SERVICES: [&str; 5] =
    [Caller::Auth.name(), Caller::AgentStreaming.name(), Caller::ProjectStorage.name(), Caller::RateLimit.name(), Caller::Gateway.name()];

/// Kept with every span.
#[derive(Clone, Copy)]
pub(super) struct Origin(pub(super) &'static str);

/// The service whose crate a module belongs to.
pub(super) fn of_module(path: &str) -> Option<&'static str> {
    let root = path.split("::").next().unwrap_or_default();
    // The name of a crate has `_` where the name of its service has `-`.
    let is_crate_of = |service: &str| service.bytes().map(|byte| if byte == b'-' { b'_' } else { byte }).eq(root.bytes());
    SERVICES.into_iter().find(|service| is_crate_of(service))
}

/// Finds the origin of every span and writes it on the exported ones.
pub(super) struct Layer {
    role: &'static str,
    exported: bool,
    dispatch: OnceLock<WeakDispatch>,
}

impl Layer {
    pub(super) fn new(role: &'static str, exported: bool) -> Self {
        Self { role, exported, dispatch: OnceLock::new() }
    }
}

impl<S> tracing_subscriber::Layer<S> for Layer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_register_dispatch(&self, subscriber: &Dispatch) {
        let _ = self.dispatch.set(subscriber.downgrade());
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut named = Named(None);
        attributes.record(&mut named);
        let origin = named
            .0
            .or_else(|| of_module(span.metadata().target()))
            .or_else(|| span.parent().and_then(|parent| parent.extensions().get::<Origin>().map(|origin| origin.0)))
            .unwrap_or(self.role);
        span.extensions_mut().insert(Origin(origin));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        if !self.exported {
            return;
        }
        let Some(origin) = context.span(&id).and_then(|span| span.extensions().get::<Origin>().copied()) else { return };
        let Some(dispatch) = self.dispatch.get().and_then(WeakDispatch::upgrade) else { return };
        if let Some(exported) = tracing_opentelemetry::get_otel_context(&id, &dispatch) {
            exported.span().set_attribute(KeyValue::new(ATTRIBUTE, origin.0));
        }
    }
}

/// The value of the field `svc`.
struct Named(Option<&'static str>);

impl Visit for Named {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == ATTRIBUTE {
            self.0 = SERVICES.into_iter().find(|service| *service == value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}
