//! The service that a span belongs to. Several services can share a process, and most spans are made by libraries. A span belongs to the
//! service in its field `svc`, else to the service of the crate that made it, else to the service of its parent.

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

/// The attribute with the service.
pub(super) const ATTRIBUTE: &str = "svc";

/// The services that spans can belong to.
pub(super) const SERVICES: [&str; 6] = [
    Caller::Auth.name(),
    Caller::AgentStreaming.name(),
    Caller::ProjectStorage.name(),
    Caller::RateLimit.name(),
    Caller::Compile.name(),
    Caller::Gateway.name(),
];

/// An extension of every span: its service.
#[derive(Clone, Copy)]
pub(super) struct Origin(pub(super) &'static str);

/// The service whose crate a module belongs to.
pub(super) fn of_module(path: &str) -> Option<&'static str> {
    let root = path.split("::").next().unwrap_or_default();
    // The crate of a service has its name with `_` for `-`.
    let is_crate_of = |service: &str| service.bytes().map(|byte| if byte == b'-' { b'_' } else { byte }).eq(root.bytes());
    SERVICES.into_iter().find(|service| is_crate_of(service))
}

/// Sets the origin of every span, and its attribute on exported spans.
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
        let mut field = ServiceField(None);
        attributes.record(&mut field);
        let origin = field
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
struct ServiceField(Option<&'static str>);

impl Visit for ServiceField {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == ATTRIBUTE {
            self.0 = SERVICES.into_iter().find(|service| *service == value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}
