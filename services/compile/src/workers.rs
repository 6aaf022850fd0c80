//! The pool of worker processes: one process for one request, and a bounded number of processes.

use std::{
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use chassis::share::{Holder, Percent, Shares};
use compiler_client::{
    message::{
        Answer, EditAnswer, EditRequest, OutlineAnswer, OutlineRequest, PackagesAnswer, PackagesRequest, Request, SiteAnswer, SiteRequest,
    },
    worker::{Error as WorkerError, Workers},
};
use opentelemetry::{KeyValue, global, metrics::Histogram};

use crate::{config::Config, error::Error, release::Release};

static RUNS: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    let description = "how long a worker process ran";
    global::meter("backlot").f64_histogram("backlot.compile.worker").with_unit("s").with_description(description).build()
});

pub(crate) struct Pool {
    workers: Workers,
    slots: Arc<Shares>,
    /// How long a request waits for a free worker.
    wait: Duration,
    pub(crate) release: Release,
}

impl Pool {
    pub(crate) fn new(config: &Config, percent: Percent) -> Self {
        Self {
            workers: Workers { executable: config.compiler.clone(), deadline: config.worker_timeout, file_time: config.file_timeout },
            slots: Shares::new(config.workers, percent),
            wait: config.longest_wait(),
            release: Release::new(config.compiler.clone()),
        }
    }

    /// Runs one worker when a slot is free.
    ///
    /// # Errors
    /// No slot became free, the executable is missing, or the worker did not answer.
    pub(crate) async fn compile(&self, holder: &Holder, request: &Request) -> Result<Answer, Error> {
        self.run(holder, self.workers.compile(request)).await
    }

    /// As [`Self::compile`], for changed modules.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub(crate) async fn edit(&self, holder: &Holder, request: &EditRequest) -> Result<EditAnswer, Error> {
        self.run(holder, self.workers.edit(request)).await
    }

    /// As [`Self::compile`], for packages.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub(crate) async fn bundle(&self, holder: &Holder, request: &PackagesRequest) -> Result<PackagesAnswer, Error> {
        self.run(holder, self.workers.bundle(request)).await
    }

    /// As [`Self::compile`], for a site.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub(crate) async fn build_site(&self, holder: &Holder, request: &SiteRequest) -> Result<SiteAnswer, Error> {
        self.run(holder, self.workers.build_site(request)).await
    }

    /// As [`Self::compile`], for outlines.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub(crate) async fn outline(&self, holder: &Holder, request: &OutlineRequest) -> Result<OutlineAnswer, Error> {
        self.run(holder, self.workers.outline(request)).await
    }

    async fn run<A>(&self, holder: &Holder, work: impl Future<Output = Result<A, WorkerError>>) -> Result<A, Error> {
        let exhausted = |by| Error::exhausted(by, "previews that are compiled");
        let mut slot = self.slots.try_take(holder, 0).map_err(exhausted)?;
        slot.grow(1, tokio::time::Instant::now() + self.wait).await.map_err(exhausted)?;
        let start = Instant::now();
        let result = work.await;
        RUNS.record(start.elapsed().as_secs_f64(), &[KeyValue::new("outcome", outcome(&result))]);
        result.map_err(|error| match error {
            WorkerError::Start(cause) => Error::CompilerMissing { path: self.workers.executable.clone(), cause },
            error => {
                tracing::info!("a worker did not answer: {error}");
                Error::Compiler(error)
            }
        })
    }
}

fn outcome<A>(result: &Result<A, WorkerError>) -> &'static str {
    match result {
        Ok(_) => "answer",
        Err(WorkerError::Start(_)) => "missing",
        Err(WorkerError::RequestTooLarge { .. } | WorkerError::AnswerTooLarge) => "too_large",
        Err(WorkerError::Timeout { .. }) => "timeout",
        Err(WorkerError::OutOfMemory { .. }) => "memory",
        Err(WorkerError::StackOverflow { .. }) => "stack",
        Err(WorkerError::Crash { .. } | WorkerError::Answer(_)) => "crash",
    }
}
