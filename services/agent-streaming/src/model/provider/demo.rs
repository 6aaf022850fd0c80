//! The built-in model: no key, no network, no understanding. It reads the request as any model would (prompt, tree, results of
//! its own calls) and answers through ordinary events, so that the quickstart and the tests run the whole of Backlot. It builds
//! one of a few small apps, changes what is there when asked again, and says in every answer that it is the demo.
//!
//! The same request gives the same answer. Usage is counted, not guessed: four bytes are one token.
//!
//! [`brief`] reads the request, [`play`] decides, [`script`] speaks; [`app`], [`wish`] and [`change`] are what it knows.

mod app;
mod brief;
mod change;
mod play;
mod script;
mod wish;

use std::{sync::Arc, time::Duration};

use async_stream::stream;
use futures::{StreamExt, stream::BoxStream};
use tokio::time::sleep;

use super::{ModelEvent, ModelRequest, Provider, ProviderError};

/// The provider.
pub(crate) struct Demo {
    pace: Duration,
}

impl Demo {
    /// `pace` is the time before each event.
    #[must_use]
    pub(crate) fn new(pace: Duration) -> Self {
        Self { pace }
    }
}

impl Provider for Demo {
    fn stream(&self, request: Arc<ModelRequest>) -> BoxStream<'static, Result<ModelEvent, ProviderError>> {
        let pace = self.pace;
        stream! {
            for event in play::step(&request) {
                if !pace.is_zero() {
                    sleep(pace).await;
                }
                yield Ok(event);
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
