//! `AGENTS.md` of a project guides its turns, and the account shows what the turns have used.

use anyhow::{Context as _, Result};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_support::{
    Cluster, Person,
    model_server::{Answer, ModelServer, Request, Script, Stop, Usage},
};

const GUIDANCE: &str = "---\ntools: [read_file, write_file, edit_file]\n---\nEvery text file begins with the line `kept by Ada`.";
const OWN_RULES: &str = "# Rules of this workspace";

/// A model that does what the guidance in its prompt says.
fn follow(request: &Request) -> Option<Answer> {
    if !request.tool_results().is_empty() {
        return Some(Answer::default().text("Done."));
    }
    let is_guided = request.body.to_string().contains("`kept by Ada`");
    let content = if is_guided { "kept by Ada\nhello\n" } else { "hello\n" };
    let used = Usage { input: 1000, cache_read: 600, cache_write: 100, output: 200, reasoning: 20 };
    Some(Answer::default().tool("write_file", json!({ "path": "note.txt", "content": content })).stop(Stop::ToolUse).usage(used))
}

/// The note that a turn writes, and what the turn used.
async fn note(person: &Person, guidance: Option<&str>) -> Result<(String, Value)> {
    let draft = if guidance.is_some() { "guided" } else { "free" };
    if let Some(guidance) = guidance {
        let changes = json!([{ "path": "AGENTS.md", "write": { "text": guidance } }]);
        person.post("/api/projects/save", json!({ "draftId": draft, "changes": changes })).await?;
    }
    let turn = person.turn(json!({ "draftId": draft, "prompt": "write a note" })).await?;
    assert_eq!(turn.outcome(), "turn.completed", "{:?}", turn.frames.last());
    let used = person.get(&format!("/api/turns/{}", turn.turn)).await?["usage"].clone();
    Ok((person.files(&turn.project).await?.remove("note.txt").context("note.txt")?, used))
}

fn tokens(usage: &Value, name: &str) -> u64 {
    usage["tokens"][name].as_str().and_then(|count| count.parse().ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_md_is_followed_below_the_rules_and_usage_counts_the_tokens() -> Result<()> {
    let models = ModelServer::start(Script::with(|_, request| follow(request))).await;
    let settings =
        [("ANTHROPIC_API_KEY", "sk-ant-canary"), ("ANTHROPIC_BASE_URL", models.url()), ("BACKLOT_MODEL", "anthropic/claude-test")];
    let cluster = Cluster::with(&settings).await?;
    let person = cluster.person().await?;
    let unused = person.get("/api/usage").await?;
    assert_eq!((tokens(&unused, "turns"), tokens(&unused, "inputTokens")), (0, 0), "{unused}");

    let ((free, first), (guided, second)) = (note(&person, None).await?, note(&person, Some(GUIDANCE)).await?);
    assert_eq!((free.as_str(), guided.as_str()), ("hello\n", "kept by Ada\nhello\n"));
    let requests = models.requests();
    let with_guidance =
        requests.iter().find(|request| request.body["system"].to_string().contains("kept by Ada")).context("a guided request")?;
    assert_eq!(with_guidance.tools(), ["read_file", "write_file", "edit_file", "read_skill"]);
    let system = with_guidance.body["system"].to_string();
    let (rules, guidance) = (system.find(OWN_RULES).context("Backlot's rules")?, system.find("kept by Ada").context("the guidance")?);
    assert!(rules < guidance, "{system}");

    let usage = person.get("/api/usage").await?;
    assert_eq!(tokens(&usage, "turns"), 2, "{usage}");
    for name in ["inputTokens", "outputTokens", "cachedInputTokens", "cacheWriteInputTokens", "contextTokens", "fullContextTokens"] {
        let used = [&first, &second].map(|turn| turn[name].as_u64().unwrap_or_default()).iter().sum::<u64>();
        assert!(used > 0 && tokens(&usage, name) == used, "{name}: {usage} of {first} and {second}");
    }
    let alone = json!({ "tokens": person.get("/api/usage/tokens").await? });
    assert_eq!((usage["projects"].as_u64(), tokens(&alone, "inputTokens")), (Some(2), tokens(&usage, "inputTokens")), "{alone}");
    let stranger = cluster.person().await?.get("/api/usage").await?;
    assert_eq!(tokens(&stranger, "turns"), 0, "usage of another account: {stranger}");
    let (status, _) = person.refused(Method::GET, "/api/usage/tokens?days=1", Value::Null).await?;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    cluster.stop().await
}
