//! A person brings a key of a model provider.

use anyhow::{Context as _, Result};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::{
    Cluster,
    model_server::{Answer, ModelServer, Script},
};

const CANARY: &str = "sk-ant-canary-6f1d2c90a7b34e58c0ffee";

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_key_brings_a_model_and_is_never_shown() -> Result<()> {
    let models = ModelServer::start(Script::with(|_, _| Some(Answer::default().text("Done.")))).await;
    let cluster = Cluster::with(&[("BACKLOT_OUTBOUND_ALLOW", "127.0.0.1")]).await?;
    let (person, stranger) = (cluster.person().await?, cluster.person().await?);
    let turn = json!({ "draftId": "d", "prompt": "say it", "model": "anthropic/claude-test" });
    let (status, refused) = person.refused(Method::POST, "/api/turns", turn.clone()).await?;
    assert_eq!((status, refused["reason"].as_str()), (StatusCode::NOT_FOUND, Some("MODEL_NOT_FOUND")));

    let new = json!({ "provider": "anthropic", "key": CANARY, "baseUrl": models.url(), "displayName": "my account" });
    let stored = person.post("/api/provider-keys", new.clone()).await?;
    assert_eq!((stored["provider"].as_str(), stored["lastFour"].as_str()), (Some("anthropic"), Some("ffee")), "{stored}");
    let path = format!("/api/provider-keys/{}", stored["id"].as_str().context("an id")?);
    let ended = person.turn(turn.clone()).await?;
    assert_eq!(ended.outcome(), "turn.completed", "{:?}", ended.frames.last());
    let seen = person.get(&format!("/api/turns/{}", ended.turn)).await?;
    assert_eq!(seen["providerKeyId"], stored["id"], "{seen}");
    let (status, _) = stranger.refused(Method::POST, "/api/turns", turn.clone()).await?;
    assert_eq!(status, StatusCode::NOT_FOUND, "the key is not a stranger's");

    // Another address needs the key again, and a masked key is none.
    let elsewhere = json!({ "baseUrl": "https://models.example.com" });
    let (status, refused) = person.refused(Method::PATCH, &path, elsewhere).await?;
    assert_eq!(
        (status, refused["reason"].as_str(), refused["errors"][0]["field"].as_str()),
        (StatusCode::BAD_REQUEST, Some("KEY_REQUIRED"), Some("key"))
    );
    let masked = json!({ "baseUrl": "https://models.example.com", "key": "sk-ant-*********************c0ffee" });
    let (status, refused) = person.refused(Method::PATCH, &path, masked).await?;
    assert_eq!((status, refused["reason"].as_str()), (StatusCode::BAD_REQUEST, Some("INVALID_FIELD")));
    let (status, _) = stranger.refused(Method::DELETE, &path, Value::Null).await?;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let list = person.get("/api/provider-keys").await?;
    assert_eq!(
        list["providerKeys"][0]["baseUrl"].as_str().map(|url| url.trim_end_matches('/')),
        Some(models.url().trim_end_matches('/')),
        "{list}"
    );
    for shown in [&stored, &list, &seen, &refused, &json!(format!("{:?}", ended.frames))] {
        assert!(!shown.to_string().contains("canary"), "{shown}");
    }
    assert!(stranger.get("/api/provider-keys").await?["providerKeys"].as_array().is_none_or(Vec::is_empty));

    // Without the key the model is gone.
    person.request(Method::DELETE, &path).send().await?.error_for_status()?;
    let (status, _) = person.refused(Method::POST, "/api/turns", turn).await?;
    assert_eq!(status, StatusCode::NOT_FOUND);
    cluster.stop().await
}
