//! The seeds of every target, without a fuzzer.

#[path = "../../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn requests_keep_all_but_the_model() {
    replay("llm_request", super::request);
}

#[test]
fn streams_are_read_alike_however_they_are_cut() {
    replay("llm_stream", super::stream);
}

#[test]
fn answers_tell_their_own_tokens() {
    replay("llm_answer", super::answer);
}

#[test]
fn price_files_are_read_exactly_or_refused() {
    replay("llm_price", super::price);
}

#[test]
fn texts_are_read_as_json_says() {
    replay("llm_text", super::json_text);
}
