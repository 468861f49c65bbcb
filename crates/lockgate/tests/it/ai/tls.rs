//! Vendors behind TLS: nginx with certificates of an authority of its own, and the published SDK.

use std::time::Duration;

use anyhow::{Context as _, Result};
use lockgate_testkit::tls::{Authority, Front, Validity};
use lockgate_testkit::vendor::Vendor;
use lockgate_testkit::{World, example};
use serde_json::Value;

use super::by_request;
use crate::support::{example as folder, exe};
use lockgate_testkit::chat::{Api, Got};

const ALL: usize = usize::MAX;
const CERTIFICATES: &str = "      caCertificates:\n        fn::readFile: ca.pem\n";

/// The AI example against `vendor` at `url`, with `inputs` for its vendor; not up yet.
fn world(vendor: &Vendor, url: &str, inputs: &str) -> Result<World> {
    let world = example::ai_world(exe(), &folder("ai"), vendor)?;
    world.run(&["config", "set", "vendorUrl", url])?.expect(0)?;
    let program = fs_err::read_to_string(world.project().join("Pulumi.yaml"))?;
    let place = "      key: ${vendorKey}\n";
    world.write(
        "Pulumi.yaml",
        &program.replace(place, &format!("{place}{inputs}")),
    )?;
    Ok(world)
}

/// nginx as `name` in front of the vendor.
fn front(authority: &Authority, vendor: &Vendor, name: &str) -> Result<Front> {
    let identity = authority.issue(&[name], Validity::Now)?;
    let address = vendor.url().replace("http://", "");
    Front::before(&identity, address.trim_end_matches("/v1"))
}

fn ask(world: &World, stream: bool) -> Result<Got> {
    Api::of(world)?.chat(&Api::body("fast", stream, 8), ALL)
}

fn rows(world: &World) -> Result<Value> {
    world.run(&["ai", "calls", "--json"])?.expect(0)?.json()
}

#[test]
fn the_published_sdk_is_served_by_a_vendor_behind_tls() -> Result<()> {
    let vendor = Vendor::start(Duration::ZERO)?;
    let authority = Authority::new("vendor root")?;
    let front = front(&authority, &vendor, "localhost")?;
    let url = format!("https://localhost:{}/v1", front.address().port());
    let world = world(&vendor, &url, CERTIFICATES)?;
    world.write("ca.pem", &authority.pem())?;
    world.run(&["up", "--yes"])?.expect(0)?;
    let asked = example::ask(exe(), &world)?;
    let expected = "models embed,fast\n\
        answer 8 tok tok tok tok tok tok tok tok\n\
        stream 8\n\
        stream with usage 8\n\
        embedding [0.5, -0.25]\n\
        unknown model model_not_found\n\
        wrong key invalid_api_key\n";
    assert_eq!(asked.data, expected, "{}", asked.talk);
    let usage = rows(&world)?;
    let rows = by_request(&usage);
    assert_eq!(rows.len(), vendor.log().len());
    for seen in vendor.log() {
        let row = rows[&seen.request];
        assert_eq!(
            (&row["status"], &row["estimated"]),
            (&"ok".into(), &false.into())
        );
        assert_eq!(row["usage"]["output"], seen.output);
    }
    let no_op = world.run(&["up", "--yes"])?.expect(0)?;
    assert!(no_op.talk.contains("no changes"), "{}", no_op.talk);
    // What the node has is what was applied, certificates included.
    let refreshed = world.run(&["preview", "--refresh"])?.expect(0)?;
    assert!(!refreshed.talk.contains("~ update"), "{}", refreshed.talk);
    world.run(&["destroy", "--yes"])?.expect(0)?;
    world.close()
}

#[test]
fn a_stream_that_is_cut_behind_tls_ends_with_an_error() -> Result<()> {
    let vendor = Vendor::start(Duration::ZERO)?;
    let authority = Authority::new("vendor root")?;
    let front = front(&authority, &vendor, "127.0.0.1")?;
    let url = format!("https://{}/v1", front.address());
    let world = world(&vendor, &url, CERTIFICATES)?;
    world.write("ca.pem", &authority.pem())?;
    let program = fs_err::read_to_string(world.project().join("Pulumi.yaml"))?;
    let cut = program.replace("model: test-small", "model: test-cut");
    world.write("Pulumi.yaml", &cut)?;
    world.run(&["up", "--yes"])?.expect(0)?;
    let got = ask(&world, true)?;
    assert_eq!((got.status(), got.words()), (200, 3));
    assert!(got.text.contains("data: {\"error\":"), "{}", got.text);
    assert!(!got.text.contains("[DONE]") && !got.is_whole());
    let usage = rows(&world)?;
    assert_eq!(usage["calls"][0]["status"], "cut");
    world.run(&["destroy", "--yes"])?.expect(0)?;
    world.close()
}

#[test]
fn a_vendor_that_cannot_prove_itself_gets_no_call() -> Result<()> {
    let vendor = Vendor::start(Duration::ZERO)?;
    let authority = Authority::new("vendor root")?;
    let front = front(&authority, &vendor, "vendor.test")?;
    let url = format!("https://127.0.0.1:{}/v1", front.address().port());
    let world = world(&vendor, &url, CERTIFICATES)?;
    world.write("ca.pem", &authority.pem())?;
    world.run(&["up", "--yes"])?.expect(0)?;
    // The certificate is for a name, and the URL has an address.
    let got = ask(&world, true)?;
    assert_eq!(got.status(), 502, "{}", got.text);
    assert!(
        got.text.contains("\"code\":\"upstream_tls\""),
        "{}",
        got.text
    );
    assert!(!got.text.contains("vendor.test"), "{}", got.text);
    let usage = rows(&world)?;
    let row = &usage["calls"][0];
    assert_eq!(row["status"], "vendor_error");
    assert_eq!(
        (&row["costMicros"], &row["usage"]["input"]),
        (&0.into(), &0.into())
    );
    let log = fs_err::read_to_string(world.home().join("node/node.log"))?;
    assert!(log.contains("not for `127.0.0.1` but for"), "{log}");

    // Told its name, it is known; trusted by the stranger's root only, it is not.
    let program = fs_err::read_to_string(world.project().join("Pulumi.yaml"))?;
    let named = format!("{CERTIFICATES}      serverName: vendor.test\n");
    world.write("Pulumi.yaml", &program.replace(CERTIFICATES, &named))?;
    world.run(&["up", "--yes"])?.expect(0)?;
    assert_eq!(ask(&world, true)?.status(), 200);
    world.write("ca.pem", &Authority::new("stranger")?.pem())?;
    world.run(&["up", "--yes"])?.expect(0)?;
    assert_eq!(ask(&world, true)?.status(), 502);
    assert_eq!(vendor.log().len(), 1);
    world.run(&["destroy", "--yes"])?.expect(0)?;
    world.close()
}

#[test]
fn mistakes_are_found_by_a_preview_that_names_resource_and_property() -> Result<()> {
    let vendor = Vendor::start(Duration::ZERO)?;
    let world = world(&vendor, "https://127.0.0.1:1/v1", CERTIFICATES)?;
    let refused = |reason: &str| -> Result<()> {
        let output = world.run(&["preview"])?.expect(2)?;
        let place = "property `caCertificates` of `urn:pulumi:dev::ai::lockgate:ai:Vendor::vendor`";
        let told = format!("error[LG0244]: {place}: {reason}");
        assert!(output.talk.contains(&told), "{}", output.talk);
        let shown = "\n  --> Pulumi.yaml:19:7\n   |\n19 |       caCertificates:\n";
        assert!(output.talk.contains(shown), "{}", output.talk);
        Ok(())
    };
    world.write("ca.pem", "no certificate\n")?;
    refused("holds no certificate in PEM form")?;
    world.write("ca.pem", &Authority::new("root")?.pem())?;
    let plain = ["config", "set", "vendorUrl", "http://127.0.0.1:1/v1"];
    world.run(&plain)?.expect(0)?;
    refused("is for `https://` URLs only")?;
    world.close()
}

#[test]
fn a_backend_of_a_route_speaks_tls_by_the_roots_of_the_system() -> Result<()> {
    let authority = Authority::new("system root")?;
    let identity = authority.issue(&["localhost"], Validity::Now)?;
    let front = Front::start(
        &identity,
        "TLSv1.3",
        "",
        "return 200 \"over $ssl_protocol\";",
    )?;
    let mut world = World::new(exe())?;
    world.write_home("roots.pem", &authority.pem())?;
    let roots = world.home().join("roots.pem");
    world.set_env("SSL_CERT_FILE", &roots.display().to_string());
    let program = format!(
        "name: shop\nruntime: yaml\nresources:\n  api:\n    type: lockgate:gateway:Route\n    \
         properties:\n      paths: [/]\n      auth: {{ public: true }}\n      backends:\n        \
         - url: https://localhost:{}\noutputs:\n  url: ${{api.url}}\n",
        front.address().port()
    );
    world.write("Pulumi.yaml", &program)?;
    world.run(&["stack", "init", "dev"])?.expect(0)?;
    world.run(&["up", "--yes"])?.expect(0)?;
    let outputs = world
        .run(&["stack", "output", "--json"])?
        .expect(0)?
        .json()?;
    let url = outputs["url"].as_str().context("a URL")?;
    let answer = lockgate_testkit::http::get(url, &[])?;
    assert_eq!((answer.status, &*answer.body), (200, "over TLSv1.3"));
    // A node that starts again serves the route before anybody tells it to.
    world.run(&["node", "stop"])?.expect(0)?;
    world.run(&["node", "start"])?.expect(0)?;
    assert_eq!(lockgate_testkit::http::get(url, &[])?.status, 200);
    world.run(&["destroy", "--yes"])?.expect(0)?;
    world.close()
}
