//! Secrets keep their mark through the graph; unknowns never reach a provider in an update.

use lockgate_model::Value;

use crate::program::{Stack, program, res};

#[tokio::test]
async fn an_output_with_the_name_of_a_secret_input_is_secret() {
    let mut stack = Stack::default();
    let a = res("a")
        .set("password", Value::from("canary").into_secret())
        .set("size", 1.0)
        .options(|o| o.additional_secret_outputs = vec!["out".to_owned(), "id".to_owned()]);
    let ran = stack
        .up(program(vec![a, res("b").link("x", "a")]))
        .await
        .good();
    let a = stack.entry("a");
    assert!(matches!(a.outputs["password"], Value::Secret(_)));
    assert!(matches!(a.outputs["out"], Value::Secret(_)));
    assert_eq!(a.outputs["size"], 1.0.into());
    assert!(matches!(stack.entry("b").inputs["x"], Value::Secret(_)));
    assert!(matches!(stack.entry("b").outputs["x"], Value::Secret(_)));
    let told = format!("{:?} {:?}", ran.events, ran.journal);
    assert!(!told.contains("canary"), "secrets are masked in events");
}

#[tokio::test]
async fn becoming_secret_changes_the_state_and_calls_nobody() {
    let mut stack = Stack::default();
    stack.up(program(vec![res("a").set("p", "v")])).await.good();
    let secret = res("a").set("p", Value::from("v").into_secret());
    let ran = stack.up(program(vec![secret])).await.good();
    assert_eq!(ran.calls, [""; 0]);
    assert!(matches!(stack.entry("a").inputs["p"], Value::Secret(_)));
    assert!(matches!(stack.entry("a").outputs["p"], Value::Secret(_)));
}

#[tokio::test]
async fn an_unknown_is_an_error_in_an_update_and_fine_in_a_preview() {
    let mut stack = Stack::default();
    let wanted = program(vec![res("a").set("x", Value::Unknown)]);
    stack.preview(wanted.clone()).await.good();
    let ran = stack.up(wanted).await;
    assert_eq!(ran.errors(), ["LG0254"]);
    assert_eq!(ran.calls, [""; 0]);
}
