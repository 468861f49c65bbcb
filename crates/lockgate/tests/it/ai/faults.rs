//! Vendors, keys and clients that misbehave.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lockgate_testkit::chat::{Api, Got};
use lockgate_testkit::vendor::{KEY, Vendor};
use lockgate_testkit::{World, example};
use serde_json::Value;

use crate::support::{example as folder, exe};

const ALL: usize = usize::MAX;

/// The AI example with a model per kind of misbehaviour, under the alias `model`.
fn world(vendor: &Vendor, model: &str, extra: &str) -> Result<World> {
    let world = example::ai_world(exe(), &folder("ai"), vendor)?;
    let program = fs_err::read_to_string(world.project().join("Pulumi.yaml"))?;
    let program = program
        .replace("model: test-small", &format!("model: {model}"))
        .replace(
            "    properties:\n      models:",
            &format!("    properties:\n{extra}      models:"),
        );
    world.write("Pulumi.yaml", &program)?;
    world.run(&["up", "--yes"])?.expect(0)?;
    Ok(world)
}

/// The newest row of the ledger.
fn row(world: &World) -> Result<Value> {
    let args = ["ai", "calls", "--json", "--limit", "1"];
    let usage = world.run(&args)?.expect(0)?.json()?;
    usage["calls"].get(0).cloned().context("no call")
}

fn ask(world: &World, stream: bool) -> Result<Got> {
    Api::of(world)?.chat(&Api::body("fast", stream, 8), ALL)
}

#[test]
fn a_cut_stream_ends_with_an_error_and_never_cleanly() -> Result<()> {
    let vendor = Vendor::start(Duration::ZERO)?;
    let world = world(&vendor, "test-cut", "")?;
    let got = ask(&world, true)?;
    assert_eq!((got.status(), got.words()), (200, 3));
    assert!(
        got.text.contains("data: {\"error\":{\"message\":"),
        "{}",
        got.text
    );
    assert!(!got.text.contains("[DONE]") && !got.is_whole());
    let row = row(&world)?;
    assert_eq!(
        (&row["status"], &row["estimated"]),
        (&"cut".into(), &true.into())
    );
    assert_eq!(row["usage"]["output"], 3);
    let whole = ask(&world, false)?;
    assert_eq!(whole.status(), 502, "{}", whole.text);
    assert!(whole.text.contains("\"type\":\"server_error\""));
    world.run(&["destroy", "--yes"])?.expect(0)?;
    world.close()
}

#[test]
fn a_vendor_that_stalls_is_given_up() -> Result<()> {
    let vendor = Vendor::start(Duration::ZERO)?;
    let limits = "      headTimeout: 300ms\n      idleTimeout: 300ms\n";
    let world = world(&vendor, "test-stall", limits)?;
    let got = ask(&world, true)?;
    assert_eq!(got.words(), 3);
    assert!(
        got.text.contains("\"code\":\"idle_timeout\"") && !got.is_whole(),
        "{}",
        got.text
    );
    assert_eq!(row(&world)?["status"], "timeout");
    assert_eq!(row(&world)?["usage"]["output"], 3);
    assert_eq!(ask(&world, false)?.status(), 504);
    assert_eq!(row(&world)?["status"], "timeout");
    world.run(&["destroy", "--yes"])?.expect(0)?;
    world.close()
}

#[test]
fn garbage_is_refused_and_ten_megabytes_pass() -> Result<()> {
    let vendor = Vendor::start(Duration::ZERO)?;
    let world = world(&vendor, "test-garbage", "")?;
    let got = ask(&world, false)?;
    assert_eq!(got.status(), 502, "{}", got.text);
    assert!(got.text.contains("\"code\":\"bad_answer\""));
    assert_eq!(row(&world)?["status"], "vendor_error");
    let program = fs_err::read_to_string(world.project().join("Pulumi.yaml"))?;
    world.write("Pulumi.yaml", &program.replace("test-garbage", "test-big"))?;
    world.run(&["up", "--yes"])?.expect(0)?;
    let got = ask(&world, false)?;
    assert!(
        got.is_whole() && got.text.len() > 10 << 20,
        "{} bytes",
        got.text.len()
    );
    let row = row(&world)?;
    assert_eq!(
        (&row["status"], &row["estimated"]),
        (&"ok".into(), &false.into())
    );
    assert_eq!(row["usage"]["output"], 1);
    world.run(&["destroy", "--yes"])?.expect(0)?;
    world.close()
}

#[test]
fn refusals_pass_unless_they_speak_of_our_key() -> Result<()> {
    let vendor = Vendor::start(Duration::ZERO)?;
    let world = world(&vendor, "test-429", "")?;
    let got = ask(&world, true)?;
    assert_eq!(got.status(), 429);
    assert!(
        got.text
            .ends_with("told to refuse\",\"param\":null,\"type\":\"x\"}}"),
        "{}",
        got.text
    );
    let refused = row(&world)?;
    assert_eq!(
        (&refused["status"], &refused["httpStatus"]),
        (&"vendor_error".into(), &429.into())
    );
    assert_eq!(refused["usage"]["input"], 0);

    world
        .run(&["config", "set", "--secret", "vendorKey", "sk-wrong"])?
        .expect(0)?;
    world.run(&["up", "--yes"])?.expect(0)?;
    let got = ask(&world, false)?;
    assert_eq!(got.status(), 503, "{}", got.text);
    assert!(got.text.contains("x-should-retry: false"));
    assert!(!got.text.contains("Incorrect API key"), "{}", got.text);
    assert_eq!(row(&world)?["httpStatus"], 401);

    let program = fs_err::read_to_string(world.project().join("Pulumi.yaml"))?;
    world.write(
        "Pulumi.yaml",
        &program.replace("      key: ${vendorKey}\n", ""),
    )?;
    world.run(&["up", "--yes"])?.expect(0)?;
    assert_eq!(ask(&world, false)?.status(), 503, "without a vendor key");
    ensure!(world.files_with(KEY)?.is_empty(), "the vendor's key leaked");

    let api = Api::of(&world)?;
    let before = vendor.log().len();
    let none = api
        .with_key("lgk_0123456789abcdef_00")
        .chat(&Api::body("fast", false, 1), ALL)?;
    assert_eq!(none.status(), 401);
    assert!(
        none.text.contains("\"code\":\"invalid_api_key\""),
        "{}",
        none.text
    );
    let program = fs_err::read_to_string(world.project().join("Pulumi.yaml"))?;
    let disabled = program.replace(
        "consumer: ${caller.id}\n",
        "consumer: ${caller.id}\n      enabled: false\n",
    );
    world.write("Pulumi.yaml", &disabled)?;
    world.run(&["up", "--yes"])?.expect(0)?;
    assert_eq!(api.chat(&Api::body("fast", false, 1), ALL)?.status(), 401);
    assert_eq!(
        vendor.log().len(),
        before,
        "a refused caller reached the vendor"
    );
    world.run(&["destroy", "--yes"])?.expect(0)?;
    world.close()
}

#[test]
fn a_vendor_that_is_gone_costs_nothing_and_is_told() -> Result<()> {
    let vendor = Vendor::start(Duration::ZERO)?;
    let world = world(&vendor, "test-small", "")?;
    drop(vendor);
    let got = ask(&world, true)?;
    assert_eq!(got.status(), 502, "{}", got.text);
    let row = row(&world)?;
    assert_eq!(
        (&row["status"], &row["httpStatus"]),
        (&"vendor_error".into(), &Value::Null)
    );
    assert_eq!(
        (&row["costMicros"], &row["costRestPico"]),
        (&0.into(), &0.into())
    );
    world.run(&["destroy", "--yes"])?.expect(0)?;
    world.close()
}
