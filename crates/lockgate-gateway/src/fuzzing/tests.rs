//! The seeds of every target, without a fuzzer.

#[path = "../../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn requests_are_forwarded_in_one_reading() {
    replay("gateway_request", super::request);
}

#[test]
fn answers_are_passed_on_in_one_reading() {
    replay("gateway_response", super::response);
}

#[test]
fn chunks_are_read_alike_however_they_are_cut() {
    replay("gateway_chunked", super::chunked);
}

#[test]
fn paths_have_one_normal_form() {
    replay("gateway_path", super::path);
}

#[test]
fn table_files_are_read_or_refused() {
    replay("gateway_table", super::table);
}
