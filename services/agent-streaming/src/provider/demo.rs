//! placeholder
use std::time::Duration;
use futures::{StreamExt, stream::BoxStream};
use super::*;
pub struct Demo;
impl Demo { pub(super) fn new(_pace: Duration) -> Self { Self } }
impl Provider for Demo { fn stream(&self, _r: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ProviderError>> { futures::stream::empty().boxed() } }
