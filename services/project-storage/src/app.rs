//! What the calls of the service share.

use chassis::{
    client::{ServiceChannel, connect},
    identity::Caller,
    page::PageTokens,
};
use proto::rate_limit::rate_limit_service_client::RateLimitServiceClient;

use crate::{
    commit::{Writer, import::ImportSlots, lock::Locks, quota::Quotas, upload::UploadSlots},
    config::Config,
    preview::Labels,
    read::{export::ExportSlots, load::LoadSlots, objects::Objects},
    store::Pool,
    watch::Watch,
};

/// The shared parts. The gRPC adapters hand each function the parts that it uses.
pub(crate) struct App {
    pub(crate) objects: Objects,
    pub(crate) quotas: Quotas,
    pub(crate) limiter: RateLimitServiceClient<ServiceChannel>,
    pub(crate) page_tokens: PageTokens,
    pub(crate) preview_labels: Labels,
    pub(crate) load_slots: LoadSlots,
    pub(crate) export_slots: ExportSlots,
    pub(crate) import_slots: ImportSlots,
    pub(crate) upload_slots: UploadSlots,
    pub(crate) watch: Watch,
    locks: Locks,
}

impl App {
    pub(crate) fn new(config: &Config, watch: Watch) -> Self {
        let secret = &config.cluster_secret;
        let limiter = connect(Caller::ProjectStorage, Caller::RateLimit, &config.rate_limit_url, secret);
        Self {
            objects: Objects::new(watch.pool.clone(), config.cache_bytes),
            quotas: config.quotas,
            limiter: RateLimitServiceClient::new(limiter),
            page_tokens: PageTokens::new(secret),
            preview_labels: Labels::new(secret),
            load_slots: LoadSlots::new(config.loads, config.server.limits.percent),
            import_slots: ImportSlots::new(config.imports, config.server.limits.percent),
            export_slots: ExportSlots::new(config.exports, config.server.limits.percent),
            upload_slots: UploadSlots::new(config.server.limits.percent),
            watch,
            locks: Locks::default(),
        }
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.objects.pool
    }

    pub(crate) fn writer(&self) -> Writer<'_> {
        Writer {
            objects: &self.objects,
            locks: &self.locks,
            quotas: self.quotas,
            load_slots: &self.load_slots,
            changes: &self.watch.changes,
        }
    }
}
