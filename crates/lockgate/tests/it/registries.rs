//! Images from and to a real registry: a pin that stays until it is updated, a push that waits
//! for the stack and for its gate.

use anyhow::{Context as _, Result, ensure};
use lockgate_model::Digest;
use lockgate_testkit::docker::Docker;
use lockgate_testkit::http;
use lockgate_testkit::registry::Registry;

use crate::support::{steps, world};

/// Media type of the manifests made here.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn program(address: &str, greeting: &str) -> String {
    format!(
        r#"name: shop
runtime: yaml
resources:
  image:
    type: lockgate:image:Build
    properties:
      name: web
      context: {{ "fn::assetArchive": {{ app: {{ "fn::stringAsset": "{greeting}" }} }} }}
      dockerfileInline: "FROM scratch\nCOPY app /app"
      push: true
      registry: {address}/team
      tags: ["1.0.0"]
outputs:
  ref: ${{image.ref}}
"#
    )
}

fn pin(address: &str) -> String {
    format!(
        r#"name: site
runtime: yaml
resources:
  base:
    type: lockgate:image:Pin
    properties:
      image: {address}/team/web
      rule: semver
      range: ^1
  gate:
    type: lockgate:image:Gate
    properties:
      image: ${{base.ref}}
outputs:
  ref: ${{gate.ref}}
  tag: ${{base.tag}}
"#
    )
}

fn tags(address: &str) -> Result<String> {
    Ok(http::get(&format!("http://{address}/v2/team/web/tags/list"), &[])?.body)
}

#[test]
fn a_pushed_image_is_pinned_and_the_pin_moves_only_when_told() -> Result<()> {
    let registry = Registry::start()?;
    let address = registry.address();
    let shop = world(&program(address, "one"))?;
    shop.run(&["preview"])?.expect(0)?;
    ensure!(tags(address)?.contains("NAME_UNKNOWN"), "a preview pushed");
    shop.run(&["up", "--yes"])?.expect(0)?;
    ensure!(tags(address)?.contains("1.0.0"), "nothing was pushed");
    let pushed = shop.run(&["stack", "output", "ref"])?.expect(0)?.data;

    // Another machine: its own home, its own store.
    let site = world(&pin(address))?;
    let lock = site.project().join("lockgate.lock");
    site.run(&["preview"])?.expect(0)?;
    ensure!(!lock.exists(), "a preview wrote the lock");
    site.run(&["up", "--yes"])?.expect(0)?;
    let pinned = site.run(&["stack", "output", "ref"])?.expect(0)?.data;
    ensure!(pinned == pushed, "{pinned} is not {pushed}");
    let first = fs_err::read_to_string(&lock)?;
    ensure!(first.contains("tag = \"1.0.0\""), "{first}");

    // A newer version appears.
    let next = program(address, "two").replace("1.0.0", "1.1.0");
    shop.write("Pulumi.yaml", &next)?;
    shop.run(&["up", "--yes"])?.expect(0)?;
    site.run(&["up", "--yes", "--expect-no-changes"])?
        .expect(0)?;
    ensure!(
        fs_err::read_to_string(&lock)? == first,
        "the lock moved by itself"
    );
    let drift = site.run(&["pin", "web", "--json"])?.expect(0)?.json()?;
    let row = &drift["pins"][0];
    ensure!(
        row["state"] == "moved" && row["nowTag"] == "1.1.0",
        "{drift}"
    );
    site.run(&["pin", "wbe"])?.expect(2)?;

    site.run(&["pin", "--update"])?.expect(0)?;
    ensure!(
        fs_err::read_to_string(&lock)? != first,
        "the lock did not move"
    );
    let preview = site.run(&["preview", "--json"])?.expect(0)?;
    let found = steps(&preview)?;
    ensure!(found == ["update base", "update gate"], "{found:?}");
    site.run(&["up", "--yes"])?.expect(0)?;
    let tag = site.run(&["stack", "output", "tag"])?.expect(0)?.data;
    ensure!(tag.trim() == "1.1.0", "{tag}");
    Ok(())
}

/// Puts an image without layers into `team/web`, created so many days ago.
fn put_image(address: &str, tag: &str, days: u32) -> Result<()> {
    let date = std::process::Command::new("date")
        .args(["-u", "+%Y-%m-%dT%H:%M:%SZ", "-d", &format!("-{days} days")])
        .output()?;
    let created = String::from_utf8(date.stdout)?;
    let config = format!(
        r#"{{"created":"{}","architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":[]}}}}"#,
        created.trim()
    );
    let digest = Digest::of(config.as_bytes());
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":{}}},"layers":[]}}"#,
        config.len()
    );
    let mut client = http::Client::connect(address)?;
    let upload = client.post("/v2/team/web/blobs/uploads/", &[], "")?;
    let place = upload.header("location").context("no upload was begun")?;
    let (_, path) = place.split_once(address).context("another host")?;
    let blob = [("content-type", "application/octet-stream")];
    let put = client.put(&format!("{path}&digest={digest}"), &blob, &config)?;
    ensure!(put.status == 201, "the configuration: {}", put.body);
    let path = format!("/v2/team/web/manifests/{tag}");
    let put = client.put(&path, &[("content-type", MANIFEST)], &manifest)?;
    ensure!(put.status == 201, "the manifest: {}", put.body);
    Ok(())
}

#[test]
fn a_pin_with_an_age_waits_for_a_tag_to_come_of_it() -> Result<()> {
    let registry = Registry::start()?;
    let address = registry.address();
    put_image(address, "1.0.0", 30)?;
    put_image(address, "1.1.0", 1)?;
    put_image(address, "1.2.0", 20_000)?;
    let aged = pin(address).replace("range: ^1\n", "range: ^1\n      minAge: 7d\n");
    let site = world(&aged)?;
    let preview = site.run(&["preview"])?.expect(0)?;
    for expected in [
        "`1.2.0` has no date that tells its age: `1.0.0` is taken",
        "`1.1.0` is too young until",
    ] {
        ensure!(
            preview.talk.contains(expected) || preview.data.contains(expected),
            "{} {}",
            preview.talk,
            preview.data
        );
    }
    site.run(&["up", "--yes"])?.expect(0)?;
    let tag = site.run(&["stack", "output", "tag"])?.expect(0)?.data;
    ensure!(tag.trim() == "1.0.0", "{tag}");
    let lock = site.project().join("lockgate.lock");
    let text = fs_err::read_to_string(&lock)?;
    ensure!(
        text.contains("minAge = \"7d\"") && text.contains("created = "),
        "{text}"
    );
    let drift = site.run(&["pin", "--json"])?.expect(0)?.json()?;
    let row = &drift["pins"][0];
    let young = row["young"].as_array().map_or(0, Vec::len);
    ensure!(row["state"] == "same" && young == 2, "{drift}");

    put_image(address, "1.0.1", 10)?;
    site.run(&["pin", "--update"])?.expect(0)?;
    let text = fs_err::read_to_string(&lock)?;
    ensure!(
        text.contains("tag = \"1.0.1\"") && text.contains("minAge = \"7d\""),
        "{text}"
    );

    // A tag of its own that is too young is not taken for another.
    let one = aged
        .replace("/team/web\n", "/team/web:1.1.0\n")
        .replace("      rule: semver\n      range: ^1\n", "");
    site.write("Pulumi.yaml", &one)?;
    let refused = site.run(&["preview"])?.expect(1)?;
    ensure!(
        refused
            .talk
            .contains("is `7d` old: `1.1.0` is too young until"),
        "{}",
        refused.talk
    );
    Ok(())
}

#[test]
fn a_build_with_a_secret_is_not_pushed() -> Result<()> {
    let registry = Registry::start()?;
    let address = registry.address();
    // The shape of a cloud key, made here so that no scanner of this repository finds one.
    let key = format!("aws_access_key_id = AKIA{}", "Z7QXW2ERT4YUIOP5");
    let shop = world(&program(address, &key))?;
    let refused = shop.run(&["preview"])?.expect(1)?;
    ensure!(
        refused.talk.contains("lockgate:image:Push"),
        "{}",
        refused.talk
    );
    shop.run(&["up", "--yes"])?.expect(1)?;
    ensure!(tags(address)?.contains("NAME_UNKNOWN"), "it was pushed");
    Ok(())
}

#[test]
fn an_image_reaches_the_registry_only_through_its_gate() -> Result<()> {
    let registry = Registry::start()?;
    let address = registry.address();
    let shop = world(&format!(
        r#"name: shop
runtime: yaml
resources:
  late:
    type: random:RandomString
    properties: {{ length: 8 }}
  image:
    type: lockgate:image:Build
    properties:
      context: app
      dockerfileInline: "FROM scratch\nCOPY . /"
      labels: {{ late: "${{late.result}}" }}
  gate:
    type: lockgate:image:Gate
    properties: {{ image: "${{image.ref}}" }}
  push:
    type: lockgate:image:Push
    properties: {{ image: "${{gate.ref}}", to: {address}/team/web, tags: ["1.0.0"] }}
outputs:
  ref: ${{push.ref}}
"#
    ))?;
    // The shape of a cloud key, made here so that no scanner of this repository finds one.
    let key = format!("AKIA{}", "Z7QXW2ERT4YUIOP5");
    shop.write("app/config.ini", &format!("aws_access_key_id = {key}\n"))?;
    // The label makes the image unknown in the preview: what stops the push is its own gate, not
    // that the preview failed.
    shop.run(&["preview"])?.expect(0)?;
    let refused = shop.run(&["up", "--yes"])?.expect(1)?;
    ensure!(refused.talk.contains("config.ini"), "{}", refused.talk);
    ensure!(
        tags(address)?.contains("NAME_UNKNOWN"),
        "what the gate refused was pushed"
    );

    shop.write("app/config.ini", "aws_access_key_id = env\n")?;
    shop.run(&["preview"])?.expect(0)?;
    ensure!(tags(address)?.contains("NAME_UNKNOWN"), "a preview pushed");
    shop.run(&["up", "--yes"])?.expect(0)?;
    shop.run(&["up", "--yes", "--expect-no-changes"])?
        .expect(0)?;
    ensure!(tags(address)?.contains("1.0.0"), "nothing was pushed");
    let pushed = shop.run(&["stack", "output", "ref"])?.expect(0)?.data;
    let pushed = pushed.trim();
    ensure!(
        pushed.starts_with(&format!("{address}/team/web@sha256:")),
        "{pushed}"
    );

    // Another machine pulls it, layers included, by the digest; the stack that pushed is gone.
    shop.run(&["destroy", "--yes"])?.expect(0)?;
    let by_digest = pin(address)
        .replace(&format!("{address}/team/web"), pushed)
        .replace("      rule: semver\n      range: ^1\n", "")
        .replace("  tag: ${base.tag}\n", "");
    let site = world(&by_digest)?;
    site.run(&["up", "--yes"])?.expect(0)?;
    let pulled = site.run(&["stack", "output", "ref"])?.expect(0)?.data;
    ensure!(pulled.trim() == pushed, "{pulled} is not {pushed}");
    Ok(())
}

#[test]
fn a_lock_lets_a_stack_come_up_without_the_registry() -> Result<()> {
    let registry = Registry::start()?;
    let shop = world(&program(registry.address(), "one"))?;
    shop.run(&["up", "--yes"])?.expect(0)?;
    let site = world(&pin(registry.address()))?;
    site.run(&["up", "--yes"])?.expect(0)?;
    let address = registry.address().to_owned();
    drop(registry);
    site.run(&["up", "--yes", "--expect-no-changes"])?
        .expect(0)?;
    let failed = site.run(&["pin"])?.expect(1)?;
    ensure!(failed.talk.contains("LG0330"), "{}", failed.talk);
    // A pin that is not locked needs the registry, and says so.
    site.write("Pulumi.yaml", &pin(&address).replace("^1", "^2"))?;
    let failed = site.run(&["preview"])?.expect(1)?;
    ensure!(failed.talk.contains(&address), "{}", failed.talk);
    Ok(())
}

#[test]
fn a_dockerfile_with_run_is_built_by_an_engine_gated_and_known_the_next_time() -> Result<()> {
    let Some(docker) = Docker::start()? else {
        return Ok(());
    };
    let registry = Registry::start()?;
    let base = world(&program(registry.address(), "x"))?;
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(std::path::Path::new);
    let busybox = busybox.into_iter().find(|path| path.is_file());
    let busybox = busybox.context("busybox: sudo apt-get install -y busybox-static")?;
    let assets = format!(r#"{{ app: {{ "fn::fileAsset": {} }} }}"#, busybox.display());
    let text = program(registry.address(), "x")
        .replace(r#"{ app: { "fn::stringAsset": "x" } }"#, &assets)
        .replace("COPY app /app", "COPY app /bin/busybox\\nCOPY app /bin/sh");
    base.write("Pulumi.yaml", &text)?;
    base.run(&["up", "--yes"])?.expect(0)?;

    let text = format!(
        r#"name: run
runtime: yaml
resources:
  image:
    type: lockgate:image:Build
    properties:
      context: src
      offline: true
      dockerfileInline: "FROM {}/team/web:1.0.0\nCOPY in /in\nRUN busybox cp /in /out"
  gate:
    type: lockgate:image:Gate
    properties:
      image: ${{image.ref}}
outputs:
  digest: ${{gate.digest}}
"#,
        registry.address()
    );
    let mut shop = world(&text)?;
    shop.write("src/in", "hello")?;
    shop.set_env("DOCKER_HOST", "unix:///nowhere.sock");
    let refused = shop.run(&["preview"])?.expect(1)?;
    ensure!(
        refused.talk.contains("`RUN` needs a build engine"),
        "{}",
        refused.talk
    );
    shop.set_env(
        "DOCKER_HOST",
        &format!("unix://{}", docker.socket().display()),
    );
    shop.run(&["up", "--yes"])?.expect(0)?;
    let digest = shop.run(&["stack", "output", "digest"])?.expect(0)?.data;
    ensure!(digest.starts_with("sha256:"), "{digest}");
    // The key is known: nothing is asked of the engine, which is gone.
    drop(docker);
    shop.run(&["up", "--yes", "--expect-no-changes"])?
        .expect(0)?;
    Ok(())
}
