//! Turns with the clients of both providers over HTTP: refusals, broken answers and cancellation.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use test_support::{
    Cluster,
    canary::within,
    model_server::{Answer, At, How, ModelServer, Refusal, Script, Stop, Usage},
    sse::Frame,
};

const HTML: &str = "<!doctype html>\n<title>Hi</title>\n<p>It \"works\" – ünïcode 💡 \\ end</p>\n";
/// The limit for a cancel to reach the provider: a second, and five times that on a busy machine.
const CLOSED_WITHIN: Duration = Duration::from_secs(5);

#[derive(Clone, Copy)]
enum Provider {
    Anthropic,
    OpenAi,
}

const BOTH: [Provider; 2] = [Provider::Anthropic, Provider::OpenAi];

impl Provider {
    fn model(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic/claude-test",
            Self::OpenAi => "openai/gpt-test",
        }
    }
}

async fn cluster(models: &ModelServer, provider: Provider) -> Result<Cluster> {
    cluster_with(models, provider, "60s").await
}

/// `idle` is the timeout for a silent provider.
async fn cluster_with(models: &ModelServer, provider: Provider, idle: &str) -> Result<Cluster> {
    Cluster::with(&[
        ("ANTHROPIC_API_KEY", "sk-ant-canary"),
        ("ANTHROPIC_BASE_URL", models.url()),
        ("OPENAI_API_KEY", "sk-canary"),
        ("OPENAI_BASE_URL", &models.openai_url()),
        ("BACKLOT_MODEL", provider.model()),
        ("BACKLOT_PROVIDER_IDLE_TIMEOUT", idle),
    ])
    .await
}

fn build() -> Vec<Answer> {
    vec![
        Answer::default()
            .reasoning("A small page will do.")
            .text("I will write a page.")
            .tool("write_file", json!({ "path": "index.html", "content": HTML }))
            .tool("write_file", json!({ "path": "app.js", "content": "console.log(1)\n" }))
            .stop(Stop::ToolUse)
            .usage(Usage { input: 1000, cache_read: 600, cache_write: 100, output: 200, reasoning: 20 }),
        Answer::default().text("Done.").usage(Usage { input: 1300, cache_read: 1000, cache_write: 0, output: 5, reasoning: 0 }),
    ]
}

fn last(frames: &[Frame]) -> Value {
    frames.last().map(Frame::json).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_complete_with_both_protocols_however_the_bytes_are_split() -> Result<()> {
    for provider in BOTH {
        for split in [1, 7, 100_000] {
            let models = ModelServer::start(Script::queue(build().into_iter().map(|a| a.split(split)))).await;
            let cluster = cluster(&models, provider).await?;
            let person = cluster.person().await?;
            let done = person.turn(json!({ "draftId": "d", "prompt": "a page" })).await?;
            assert_eq!(done.outcome(), "turn.completed", "{}", last(&done.frames));
            let files = person.files(&done.project).await?;
            assert_eq!((files["index.html"].as_str(), files["app.js"].as_str()), (HTML, "console.log(1)\n"));
            let usage = done.frames.iter().rev().find(|f| f.kind() == "usage").map(Frame::json).unwrap_or_default();
            assert_eq!(
                (
                    usage["data"]["inputTokens"].as_u64(),
                    usage["data"]["outputTokens"].as_u64(),
                    usage["data"]["cachedInputTokens"].as_u64()
                ),
                (Some(2300), Some(205), Some(1600)),
                "the token counts of the provider: {usage}"
            );

            let requests = models.requests();
            assert_eq!(requests.len(), 2);
            assert!(models.complaints().is_empty(), "{:?}", models.complaints());
            let tools =
                ["list_files", "read_file", "search", "write_file", "edit_file", "delete_file", "rename_file", "check", "read_skill"];
            assert_eq!(requests[0].tools(), tools);
            assert!(requests[0].prompt().contains("a page"));
            assert_eq!(requests[1].tool_results().len(), 2, "the results of both tools");

            models.script(Script::queue([
                Answer::default().tool("edit_file", json!({ "path": "app.js", "old_text": "1", "new_text": "2" })).stop(Stop::ToolUse),
                Answer::default().text("Changed."),
            ]));
            let second = person.turn(json!({ "projectId": done.project, "prompt": "count to two" })).await?;
            assert_eq!(second.outcome(), "turn.completed", "{}", last(&second.frames));
            assert_eq!(person.files(&done.project).await?["app.js"], "console.log(2)\n");
            assert!(models.requests()[2].prompt().contains("count to two"));
            cluster.stop().await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_but_unambiguous_arguments_are_accepted_with_both_protocols() -> Result<()> {
    let inside = json!({ "path": "b.txt", "content": "from a JSON text" }).to_string();
    for provider in BOTH {
        let models = ModelServer::start(Script::queue([
            Answer::default()
                .tool("write_file", json!({ "path": ".gitkeep", "content": "" }))
                .tool("write_file", json!({ "path": "a.txt", "content": "one\r\ntwo\r\nthree\r\n" }))
                .tool_text("write_file", json!(inside).to_string())
                .tool("write_file", json!({ "path": "c.txt", "content": 7 }))
                .tool("write_file", json!({ "file_path": "d.json", "content": { "a": [1] } }))
                .tool_text("write_file", r#"{"path":"e.txt","content":"cut"#)
                .stop(Stop::ToolUse),
            Answer::default()
                .tool("edit_file", json!({ "path": "a.txt", "old_text": "one\ntwo\n", "new_text": "one\n2\n" }))
                .tool("edit_file", json!({ "path": "b.txt", "old_text": "from a JSON text", "new_text": "" }))
                .tool("read_file", json!({ "path": "a.txt", "start_line": "2", "end_line": null }))
                .stop(Stop::ToolUse),
            Answer::default().text("Done."),
        ]))
        .await;
        let cluster = cluster(&models, provider).await?;
        let person = cluster.person().await?;
        let done = person.turn(json!({ "draftId": "d", "prompt": "odd calls" })).await?;
        assert_eq!(done.outcome(), "turn.completed", "{}", last(&done.frames));
        let files = person.files(&done.project).await?;
        let expected = [
            (".gitkeep", ""),
            ("a.txt", "one\r\n2\r\nthree\r\n"),
            ("b.txt", ""),
            ("c.txt", "7"),
            ("d.json", "{\n  \"a\": [\n    1\n  ]\n}\n"),
        ];
        assert_eq!(files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect::<Vec<_>>(), expected);
        let refused: Vec<_> = done.frames.iter().filter(|frame| frame.kind() == "file.rejected").map(Frame::json).collect();
        assert_eq!(refused.len(), 1, "only the truncated call: {refused:?}");
        assert_eq!(models.requests()[1].tool_results().len(), 6);
        cluster.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_before_any_output_are_retried() -> Result<()> {
    for provider in BOTH {
        for refusal in [Refusal::overloaded(), Refusal::rate_limited(0), Refusal::server_error()] {
            let answers = std::iter::once(Answer::refuse(refusal)).chain(build());
            let models = ModelServer::start(Script::queue(answers)).await;
            let cluster = cluster(&models, provider).await?;
            let done = cluster.person().await?.turn(json!({ "draftId": "d", "prompt": "a page" })).await?;
            assert_eq!(done.outcome(), "turn.completed", "{}", last(&done.frames));
            assert_eq!(done.frames.iter().filter(|f| f.kind() == "attempt.failed").count(), 1);
            cluster.stop().await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_answer_fails_the_turn_with_a_reason_and_commits_nothing() -> Result<()> {
    for provider in BOTH {
        let half = || build().remove(0);
        let rows = [
            ("cut", half().cut_at(At::Event(9)), "PROVIDER_ERROR"),
            ("stall", half().stall_at(At::Event(9)), "PROVIDER_STALLED"),
            ("max_tokens", half().truncated(40), "TRUNCATED"),
            ("abort", half().stop(Stop::Other("abort")), "PROVIDER_ERROR"),
            ("unknown stop reason", half().stop(Stop::Other("of_tomorrow")), "TRUNCATED"),
            ("nothing", Answer::default(), "EMPTY_ANSWER"),
            ("reasoning only", Answer::default().reasoning("A small page will do."), "EMPTY_ANSWER"),
            ("bad request", Answer::refuse(Refusal::bad_request("no such model")), "PROVIDER_REFUSED"),
            ("refusal", Answer::default().text("I will not.").stop(Stop::Refusal), "PROVIDER_REFUSED"),
        ];
        for (what, answer, reason) in rows {
            let models = ModelServer::start(Script::always(answer)).await;
            let cluster = cluster_with(&models, provider, if what == "stall" { "2s" } else { "60s" }).await?;
            let person = cluster.person().await?;
            let done = person.turn(json!({ "draftId": "d", "prompt": "a page" })).await?;
            let end = last(&done.frames);
            assert_eq!((end["type"].as_str(), end["data"]["reason"].as_str()), (Some("turn.failed"), Some(reason)), "{what}: {end}");
            assert!(!end.to_string().contains("canary"), "an API key is in the event");
            assert!(person.files(&done.project).await?.is_empty(), "{what}");
            cluster.stop().await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_whose_answer_breaks_is_retried() -> Result<()> {
    for provider in BOTH {
        let broken = [build().remove(0).cut_at(At::Event(9)), build().remove(0).stop(Stop::Other("network_error"))];
        let models = ModelServer::start(Script::queue(broken.into_iter().chain(build()))).await;
        let cluster = cluster(&models, provider).await?;
        let person = cluster.person().await?;
        let done = person.turn(json!({ "draftId": "d", "prompt": "a page" })).await?;
        assert_eq!(done.outcome(), "turn.completed", "{}", last(&done.frames));
        let count = |kind: &str| done.frames.iter().filter(|frame| frame.kind() == kind).count();
        assert_eq!((count("step.superseded"), count("attempt.failed"), count("step.finished")), (2, 2, 2));
        assert_eq!(person.files(&done.project).await?["index.html"].as_str(), HTML);
        assert!(models.complaints().is_empty(), "{:?}", models.complaints());
        cluster.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_closes_the_connection_to_the_provider_and_a_disconnect_does_not() -> Result<()> {
    for provider in BOTH {
        let slow = Answer::default().text("word ".repeat(2_000)).pace(Duration::from_millis(20));
        let models = ModelServer::start(Script::always(slow)).await;
        let cluster = cluster(&models, provider).await?;
        let person = cluster.person().await?;
        let mut viewer = person.stream(json!({ "draftId": "d", "prompt": "talk" })).await?;
        let head = viewer.until("text.delta").await?;
        let turn = head[0].json()["turnId"].as_str().unwrap_or_default().to_owned();
        drop(viewer);
        let mut viewer = person.follow(&turn, 0).await?;
        viewer.until("text.delta").await?;
        assert_eq!((models.open_calls(), models.ending(0).is_none()), (1, true), "the turn continues without its viewer");

        person.post(&format!("/api/turns/{turn}/cancel"), json!({})).await?;
        let ending = within(CLOSED_WITHIN, models.closed(0)).await?;
        assert_eq!(ending.how, How::ClientClosed);
        assert_eq!(viewer.rest().await?.last().map(Frame::kind).as_deref(), Some("turn.cancelled"));
        cluster.stop().await?;
    }
    Ok(())
}
