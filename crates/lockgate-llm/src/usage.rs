//! Tokens as vendors tell them, into disjoint counts.

use lockgate_model::ai::Usage;
use serde::Deserialize;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wire {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<InputDetails>,
    completion_tokens_details: Option<OutputDetails>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct InputDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
    audio_tokens: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct OutputDetails {
    reasoning_tokens: Option<u64>,
    audio_tokens: Option<u64>,
}

/// Reads the `usage` object of a chat or embeddings answer; `None` when it is none or tells no
/// total. Details are parts of the totals; where they add up to more, cached counts win and the
/// rest shrinks.
pub fn parse_usage(raw: &str) -> Option<Usage> {
    let wire: Wire = serde_json::from_str(raw).ok()?;
    if wire.prompt_tokens.is_none() && wire.completion_tokens.is_none() {
        return None;
    }
    let input = wire.prompt_tokens_details.unwrap_or_default();
    let output = wire.completion_tokens_details.unwrap_or_default();
    let mut read = wire.prompt_tokens.unwrap_or(0);
    let mut written = wire.completion_tokens.unwrap_or(0);
    let take = |rest: &mut u64, wanted: Option<u64>| {
        let taken = wanted.unwrap_or(0).min(*rest);
        *rest -= taken;
        taken
    };
    Some(Usage {
        cache_read: take(&mut read, input.cached_tokens),
        cache_write: take(&mut read, input.cache_write_tokens),
        input_audio: take(&mut read, input.audio_tokens),
        input: read,
        reasoning: take(&mut written, output.reasoning_tokens),
        output_audio: take(&mut written, output.audio_tokens),
        output: written,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_parts_of_the_totals() {
        let usage = parse_usage(
            r#"{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,
               "prompt_tokens_details":{"cached_tokens":30,"audio_tokens":200},
               "completion_tokens_details":{"reasoning_tokens":20,"accepted_prediction_tokens":3}}"#,
        )
        .unwrap();
        let expected = Usage {
            input: 0,
            cache_read: 30,
            input_audio: 70,
            output: 30,
            reasoning: 20,
            ..Usage::default()
        };
        assert_eq!(usage, expected);
        assert_eq!((usage.total_input(), usage.total_output()), (100, 50));
    }

    #[test]
    fn what_tells_no_total_is_no_usage() {
        for raw in [
            "null",
            "{}",
            "[]",
            r#"{"prompt_tokens":-1}"#,
            r#"{"prompt_tokens":"7"}"#,
        ] {
            assert_eq!(parse_usage(raw), None, "{raw}");
        }
        let embeddings = parse_usage(r#"{"prompt_tokens":5,"total_tokens":5}"#).unwrap();
        assert_eq!((embeddings.input, embeddings.output), (5, 0));
        let nulls = r#"{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":null}"#;
        assert_eq!(parse_usage(nulls).map(|u| u.output), Some(1));
    }
}
