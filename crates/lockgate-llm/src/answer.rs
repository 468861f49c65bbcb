//! What is read of a whole answer.

use lockgate_model::ai::Usage;

use crate::json::members;
use crate::usage::parse_usage;

/// An answer with a good status that is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the vendor's answer is not a JSON object")]
pub struct AnswerFault;

/// Checks a whole answer and reads its tokens; `None` when it tells none.
pub fn check_answer(body: &[u8]) -> Result<Option<Usage>, AnswerFault> {
    let [usage] = members(body, ["usage"]).map_err(|_| AnswerFault)?.0;
    Ok(usage.and_then(parse_usage))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_usage_of_the_answer_itself_counts() {
        let body = br#"{"choices":[{"usage":{"prompt_tokens":9}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
        let usage = check_answer(body).unwrap().unwrap();
        assert_eq!((usage.input, usage.output), (1, 2));
        assert_eq!(check_answer(b"{}"), Ok(None));
        for body in [&b"<html>"[..], b"[]", b"", b"{\"a\":1", b"\xff\xfe"] {
            assert_eq!(check_answer(body), Err(AnswerFault));
        }
    }
}
