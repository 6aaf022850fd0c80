//! An open preview exchanges modules after a save, and keeps its state.

use anyhow::Result;
use test_support::script::Gates;

use crate::{browser::run_script, frameworks};

#[tokio::test(flavor = "multi_thread")]
async fn an_open_preview_exchanges_modules_and_keeps_its_state() -> Result<()> {
    let cluster = frameworks::cluster().await?;
    run_script("hot.mjs", &cluster, &Gates::default()).await?;
    cluster.stop().await
}
