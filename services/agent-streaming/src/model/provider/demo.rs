//! The built-in demo model. It needs no key and no network. It reads the request as a real model would (prompt, tree, results of its own
//! calls) and answers with the same events, so that the quickstart and the tests use all of Backlot. It builds one of a few small apps,
//! changes the files of later prompts, and says in every answer that it is the demo.
//!
//! The same request has the same answer. One token of usage is four bytes.
//!
//! [`brief`] parses the request, [`step`] decides what to do, [`answer`] builds the events. [`app`], [`modification`] and [`change`] are
//! the apps and the changes that the demo knows. [`talk`] answers turns that change nothing.

mod answer;
mod app;
mod brief;
mod change;
mod modification;
mod step;
mod talk;

use std::{sync::Arc, time::Duration};

use async_stream::stream;
use futures::{StreamExt, stream::BoxStream};
use tokio::time::sleep;

use super::{ModelEvent, ModelRequest, Provider, ProviderError};

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
            for event in step::events(&request) {
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
