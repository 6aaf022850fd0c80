//! Reads the usage from a chunk.

use proto::agent_streaming::Usage;
use serde_json::Value;

/// The usage in a chunk. Most servers put it beside the choices, some into the choice or into a field of their own.
pub(super) fn find(chunk: &Value) -> Option<Usage> {
    let places = ["/usage", "/choices/0/usage", "/x_groq/usage", "/choices/0/message/usage"];
    places.into_iter().find_map(|place| chunk.pointer(place).filter(|usage| usage.is_object())).map(read)
}

fn read(usage: &Value) -> Usage {
    let count = |places: &[&str]| {
        let number = places.iter().find_map(|place| whole(usage.pointer(place)?)).unwrap_or_default();
        u32::try_from(number).unwrap_or(u32::MAX)
    };
    let output = count(&["/completion_tokens", "/output_tokens"]);
    let reasoning = count(&["/completion_tokens_details/reasoning_tokens", "/output_tokens_details/reasoning_tokens", "/reasoning_tokens"]);
    let input = count(&["/prompt_tokens", "/input_tokens"]);
    let total = count(&["/total_tokens"]);
    // Reasoning should be a part of the output, but some servers count it separately. Then it is larger than the output, or the total
    // includes it in addition to the output.
    let separate = reasoning > output || (reasoning > 0 && total == input.saturating_add(output).saturating_add(reasoning));
    Usage {
        input_tokens: input,
        output_tokens: if separate { output.saturating_add(reasoning) } else { output },
        cached_input_tokens: count(&[
            "/prompt_tokens_details/cached_tokens",
            "/input_tokens_details/cached_tokens",
            "/prompt_cache_hit_tokens",
        ]),
        cache_write_input_tokens: count(&["/prompt_tokens_details/cache_write_tokens"]),
        reasoning_tokens: reasoning,
        ..Usage::default()
    }
}

/// A count, which may also be written as a float.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates")]
fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_f64().filter(|n| n.is_finite() && *n >= 0.0).map(|n| n as u64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn usage_is_found_in_every_known_place() {
        let usage = json!({"prompt_tokens": 10, "completion_tokens": 5});
        for chunk in [
            json!({"usage": usage}),
            json!({"choices": [{"usage": usage}]}),
            json!({"usage": null, "x_groq": {"usage": usage}}),
            json!({"usage": {"input_tokens": 10.0, "output_tokens": 5}}),
        ] {
            assert_eq!(find(&chunk), Some(Usage { input_tokens: 10, output_tokens: 5, ..Usage::default() }), "{chunk}");
        }
        for chunk in [json!({}), json!({"usage": null}), json!({"choices": []})] {
            assert_eq!(find(&chunk), None, "{chunk}");
        }
    }

    #[test]
    fn reasoning_is_counted_as_output() {
        let of = |completion: u32, reasoning: u32, total: u32| {
            let details = json!({"reasoning_tokens": reasoning});
            let usage =
                json!({"prompt_tokens": 10, "completion_tokens": completion, "total_tokens": total, "completion_tokens_details": details});
            find(&json!({"usage": usage})).map(|usage| (usage.output_tokens, usage.reasoning_tokens)).unwrap()
        };
        assert_eq!(of(50, 30, 60), (50, 30));
        assert_eq!(of(5, 30, 45), (35, 30), "counted separately, as the total shows");
        assert_eq!(of(50, 30, 90), (80, 30), "counted separately, though smaller");
        assert_eq!(of(5, 30, 15), (35, 30), "larger than the output");
        assert_eq!(of(5, 0, 15), (5, 0));
    }
}
