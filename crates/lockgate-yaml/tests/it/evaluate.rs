//! What programs register, read, call and put out.

use lockgate_engine::source::{Alias, AliasParent, SourceError};
use lockgate_model::value::{Archive, ArchiveSource, Asset, AssetSource};
use lockgate_model::{PropertyMap, Urn, Value};

use crate::fake::{FakeMonitor, checked, context, run, urn};

const WEB: &str = "fake:index/web:Web";

fn secret(text: &str) -> Value {
    Value::from(text).into_secret()
}

fn map(entries: &[(&str, Value)]) -> PropertyMap {
    entries
        .iter()
        .map(|(k, v)| ((*k).to_owned(), v.clone()))
        .collect()
}

/// The outputs of a program without resources or files.
async fn outputs(text: &str, config: &[(&str, Value)]) -> PropertyMap {
    let folder = tempfile::tempdir().expect("temp folder");
    let monitor = FakeMonitor::default();
    let (monitor, result) = run(text, context(config), monitor, folder.path()).await;
    result.expect("runs");
    let outputs = monitor.outputs.lock().take();
    outputs.expect("outputs")
}

#[tokio::test]
async fn functions_give_their_values() {
    let text = r#"
name: shop
runtime: yaml
variables:
  list: [a, b, "c"]
  n: 1000000
outputs:
  join: {fn::join: ["-", "${list}"]}
  select: {fn::select: [1, "${list}"]}
  split: {fn::split: [",", "x,y"]}
  chars: {fn::length: "né👩‍👧"}
  count: {fn::length: "${list}"}
  single: {fn::singleOrNone: [7]}
  none: {fn::singleOrNone: []}
  json: {fn::toJSON: {b: "<", a: [1, null, 1.5]}}
  base: {fn::toBase64: hi}
  back: {fn::fromBase64: aGk=}
  sha1: {fn::sha1: abc}
  secret: {fn::secret: s}
  plain: {fn::unsecret: {fn::secret: {k: s}}}
  text: "n=${n} $${n} ${pulumi.stack}/${pulumi.project}"
  mixed: "x-${list[2]}-${pulumi.organization}"
  whole: ${list}
"#;
    let out = outputs(text, &[]).await;
    let list = |items: &[&str]| Value::List(items.iter().map(|t| Value::from(*t)).collect());
    let expected = map(&[
        ("join", "a-b-c".into()),
        ("select", "b".into()),
        ("split", list(&["x", "y"])),
        ("chars", 3.0.into()),
        ("count", 3.0.into()),
        ("single", 7.0.into()),
        ("none", Value::Null),
        ("json", r#"{"a":[1,null,1.5],"b":"\u003c"}"#.into()),
        ("base", "aGk=".into()),
        ("back", "hi".into()),
        ("sha1", "a9993e364706816aba3e25717850c26c9cd0d89d".into()),
        ("secret", secret("s")),
        ("plain", Value::Map(map(&[("k", "s".into())]))),
        ("text", "n=1e+06 ${n} dev/shop".into()),
        ("mixed", "x-c-organization".into()),
        ("whole", list(&["a", "b", "c"])),
    ]);
    for (name, value) in &expected {
        assert_eq!(exposed(&out[name]), exposed(value), "{name}");
        assert_eq!(out[name], *value, "{name}: secret wrapping");
    }
    assert_eq!(out.len(), expected.len());
}

/// Clear text for messages; `Value` masks secrets when printed.
fn exposed(value: &Value) -> String {
    value.without_secrets().to_string()
}

#[tokio::test]
async fn config_takes_the_stack_then_the_default_and_its_type() {
    let text = r#"
name: shop
runtime: yaml
config:
  port: {type: integer}
  big: {type: int, default: 1000000}
  on: {type: Boolean, default: false}
  names: {type: array, items: {type: string}}
  db: {type: object}
  key: {type: string, secret: true}
  zone: here
outputs:
  port: ${port}
  big: "b${big}"
  on: ${on}
  first: ${names[0]}
  host: ${db.host}
  key: "k=${key}"
  zone: ${zone}
  region: ${aws:region}
  other: ${undeclared}
  pass: ${db.pass}
"#;
    let db = map(&[("host", "h".into()), ("pass", secret("p"))]);
    let out = outputs(
        text,
        &[
            ("shop:port", "8080".into()),
            ("shop:on", "true".into()),
            ("shop:names", r#"["n1", "n2"]"#.into()),
            ("shop:db", Value::Map(db)),
            ("shop:key", "open".into()),
            ("aws:region", "eu".into()),
            ("shop:undeclared", 5.0.into()),
        ],
    )
    .await;
    let expected = map(&[
        ("port", 8080.0.into()),
        ("big", "b1000000".into()),
        ("on", true.into()),
        ("first", "n1".into()),
        ("host", "h".into()),
        ("key", secret("k=open")),
        ("zone", "here".into()),
        ("region", "eu".into()),
        ("other", 5.0.into()),
        ("pass", secret("p")),
    ]);
    assert_eq!(out, expected);
}

#[test]
fn stored_config_of_a_wrong_type_is_reported() {
    let text = "name: shop\nruntime: yaml\nconfig:\n  port: {type: integer}\n  key: {type: string, secret: false}\n";
    let config = [("shop:port", "many".into()), ("shop:key", secret("x"))];
    let (_, found) = checked(text, context(&config));
    let messages: Vec<_> = found.iter().map(|d| d.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "config `port` must be a whole number, the stack has a string",
            "config `key` is stored as a secret but declared `secret: false`",
        ]
    );
}

const RESOURCES: &str = r#"
name: shop
runtime: yaml
resources:
  web:
    type: fake:Web
    properties:
      name: web-${db.name}
      size: 3
      any: {where: "${db.url}", key: "${db.password}"}
      tags: {"${db.name}": 8080}
    options:
      dependsOn: ["${base}"]
      parent: ${base}
      protect: true
      version: "4.1"
      ignoreChanges: [name]
      replaceOnChanges: [size]
      deleteBeforeReplace: true
      retainOnDelete: false
      additionalSecretOutputs: [url]
      hideDiffs: [any]
      import: web-1
      deletedWith: ${base}
      replaceWith: ["${db}"]
      replacementTrigger: ${db.size}
      customTimeouts: {create: 5m, delete: 1h30m}
      aliases:
        - urn:pulumi:dev::shop::fake:index/web:Web::old
        - {name: older, noParent: true}
      provider: ${prov}
  base:
    type: fake:index/web:Web
    name: other
  db:
    type: fake:data:db
    properties: {name: d, engine: pg, password: p, size: 2}
  prov:
    type: pulumi:providers:fake
outputs:
  url: ${web.url}
  id: ${web.id}
  name: {fn::pulumiResourceName: "${base}"}
  type: {fn::pulumiResourceType: "${base}"}
"#;

#[tokio::test]
async fn resources_are_registered_with_their_options_and_dependencies() {
    let folder = tempfile::tempdir().expect("temp folder");
    let monitor = FakeMonitor::default();
    let (monitor, result) = run(RESOURCES, context(&[]), monitor, folder.path()).await;
    result.expect("runs");
    let registered = monitor.registered.lock();
    let names: Vec<_> = registered.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["other", "db", "prov", "web"]);
    let web = &registered[3];
    let db = urn("fake:data:Db", "db");
    let base = urn(WEB, "other");
    assert_eq!(web.type_token, WEB);
    assert_eq!(
        web.inputs,
        map(&[
            ("name", "web-d".into()),
            ("size", 3.0.into()),
            ("kind", "web".into()),
            (
                "any",
                Value::Map(map(&[("where", "http://db".into()), ("key", secret("p"))]))
            ),
            ("tags", Value::Map(map(&[("d", "8080".into())]))),
        ])
    );
    assert_eq!(web.property_dependencies["name"], std::slice::from_ref(&db));
    assert_eq!(web.property_dependencies["size"], Vec::<Urn>::new());
    let options = &web.options;
    assert_eq!(options.depends_on, [db.clone(), base.clone()]);
    assert_eq!(options.parent, Some(base.clone()));
    assert_eq!(options.protect, Some(true));
    assert_eq!(options.version.as_deref(), Some("4.1"));
    assert_eq!(options.ignore_changes, ["name"]);
    assert_eq!(options.replace_on_changes, ["size"]);
    assert_eq!(options.delete_before_replace, Some(true));
    assert_eq!(options.retain_on_delete, Some(false));
    assert_eq!(options.additional_secret_outputs, ["url"]);
    assert_eq!(options.hide_diffs, ["any"]);
    assert_eq!(options.import_id.as_deref(), Some("web-1"));
    assert_eq!(options.deleted_with, Some(base));
    assert_eq!(options.replace_with, [db]);
    assert_eq!(options.replacement_trigger, Some(2.0.into()));
    assert_eq!(options.custom_timeouts.create, Some(300.0));
    assert_eq!(options.custom_timeouts.delete, Some(5400.0));
    assert_eq!(
        options.aliases,
        [
            Alias::Urn(urn(WEB, "old")),
            Alias::Parts {
                name: Some("older".into()),
                type_token: None,
                stack: None,
                project: None,
                parent: AliasParent::None,
            },
        ]
    );
    let provider = urn("pulumi:providers:fake", "prov");
    assert_eq!(options.provider, Some(format!("{provider}::id-prov")));
    assert_eq!(
        options.source_position.as_deref(),
        Some("project:///Pulumi.yaml#5,3")
    );
    let outputs = monitor.outputs.lock().take().expect("outputs");
    assert_eq!(
        outputs,
        map(&[
            ("url", "http://web".into()),
            ("id", "id-web".into()),
            ("name", "other".into()),
            ("type", WEB.into()),
        ])
    );
}

#[tokio::test]
async fn unknowns_of_a_preview_travel_with_their_values() {
    let text = r#"
name: shop
runtime: yaml
variables:
  v: ${web.url}
resources:
  web:
    type: fake:Web
    properties: {name: n, password: p}
  next:
    type: fake:Web
    properties: {name: "x-${v}", any: ["${web.id}", 1], password: "a${web.url}"}
  seen:
    type: fake:Web
    get: {id: "${web.id}"}
outputs:
  a: ${next.url}
  b: {fn::toJSON: {k: "${v}"}}
  c: ${seen.name}
  d: ${web.name}
  both: "${web.password}${web.url}"
"#;
    let folder = tempfile::tempdir().expect("temp folder");
    let monitor = FakeMonitor {
        preview: true,
        ..FakeMonitor::default()
    };
    let (monitor, result) = run(text, context(&[]), monitor, folder.path()).await;
    result.expect("runs");
    let registered = monitor.registered.lock();
    let next = &registered[1];
    assert_eq!(next.inputs["name"], Value::Unknown);
    assert_eq!(
        next.inputs["any"],
        Value::List(vec![Value::Unknown, 1.0.into()])
    );
    assert_eq!(next.inputs["password"], Value::Unknown.into_secret());
    assert_eq!(next.property_dependencies["name"], [urn(WEB, "web")]);
    assert!(monitor.read.lock().is_empty(), "read with an unknown id");
    let outputs = monitor.outputs.lock().take().expect("outputs");
    assert_eq!(
        outputs,
        map(&[
            ("a", Value::Unknown),
            ("b", Value::Unknown),
            ("c", Value::Unknown),
            ("d", "n".into()),
            ("both", Value::Unknown.into_secret()),
        ])
    );
}

#[tokio::test]
async fn invokes_reads_and_stack_references_go_through_the_monitor() {
    let text = r#"
name: shop
runtime: yaml
variables:
  short: {fn::fake:lookup: {key: "${web.name}"}}
  long:
    fn::invoke:
      function: fake:lookup
      arguments: {key: {fn::secret: s}}
      options: {version: 1.2.3, dependsOn: ["${web}"]}
      return: value
resources:
  web: {type: "fake:Web", properties: {name: n}}
  seen: {type: "fake:Web", get: {id: x1, state: {name: y}}}
  ref: {type: "pulumi:pulumi:StackReference", properties: {name: org/p/s}}
outputs:
  value: ${short.value}
  token: ${short.token}
  long: ${long}
  host: ${ref.outputs.host}
  key: ${ref.outputs["key"]}
  old: {fn::stackReference: [org/p/t, host]}
  again: {fn::stackReference: [org/p/t, key]}
"#;
    let folder = tempfile::tempdir().expect("temp folder");
    let (monitor, result) = run(text, context(&[]), FakeMonitor::default(), folder.path()).await;
    result.expect("runs");
    let invoked = monitor.invoked.lock();
    let web = urn(WEB, "web");
    let short = invoked
        .iter()
        .find(|i| i.version.is_none())
        .expect("short form");
    assert_eq!(short.function, "fake:index/lookup:lookup");
    assert_eq!(short.args, map(&[("key", "n".into())]));
    assert_eq!(short.depends_on, std::slice::from_ref(&web));
    let long = invoked
        .iter()
        .find(|i| i.version.is_some())
        .expect("long form");
    assert_eq!(long.args, map(&[("key", secret("s"))]));
    assert_eq!(long.depends_on, [web]);
    let read = monitor.read.lock();
    let ids: Vec<_> = read
        .iter()
        .map(|r| (r.type_token.as_str(), r.id.as_str()))
        .collect();
    let reference = "pulumi:pulumi:StackReference";
    assert_eq!(
        ids,
        [(WEB, "x1"), (reference, "org/p/s"), (reference, "org/p/t")]
    );
    let outputs = monitor.outputs.lock().take().expect("outputs");
    assert_eq!(
        outputs,
        map(&[
            ("value", "value of n".into()),
            ("token", secret("t")),
            ("long", secret("value of [secret]")),
            ("host", "h".into()),
            ("key", secret("k")),
            ("old", "h".into()),
            ("again", secret("k")),
        ])
    );
}

#[tokio::test]
async fn files_are_read_and_hashed_relative_to_the_project() {
    let text = r#"
name: shop
runtime: yaml
outputs:
  text: {fn::readFile: a.txt}
  base: {fn::filebase64: a.txt}
  sum: {fn::filebase64sha256: a.txt}
  asset: {fn::fileAsset: a.txt}
  folder: {fn::fileArchive: sub}
  inline: {fn::stringAsset: hi}
  all: {fn::assetArchive: {"x.txt": {fn::stringAsset: hi}, "u": {fn::remoteAsset: "http://h/x"}}}
"#;
    let folder = tempfile::tempdir().expect("temp folder");
    fs_err::create_dir_all(folder.path().join("sub/deep")).expect("folder");
    fs_err::write(folder.path().join("a.txt"), "hi").expect("file");
    fs_err::write(folder.path().join("sub/deep/b"), "b").expect("file");
    let archive_hash = |out: &PropertyMap| match &out["folder"] {
        Value::Archive(Archive { hash, .. }) => hash.clone().expect("hash"),
        other => panic!("{other:?}"),
    };
    let run_once = async || {
        let (monitor, result) =
            run(text, context(&[]), FakeMonitor::default(), folder.path()).await;
        result.expect("runs");
        let outputs = monitor.outputs.lock().take();
        outputs.expect("outputs")
    };
    let out = run_once().await;
    // echo -n hi | sha256sum
    let hash = "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4";
    assert_eq!(out["text"], "hi".into());
    assert_eq!(out["base"], "aGk=".into());
    assert_eq!(
        out["sum"],
        "j0NDRmSPa5bfid2pAcUXaxCm2Dlh3TwayItZstwyeqQ=".into()
    );
    let asset = |source| {
        Value::Asset(Asset {
            hash: Some(hash.into()),
            source,
        })
    };
    assert_eq!(out["asset"], asset(AssetSource::Path("a.txt".into())));
    assert_eq!(out["inline"], asset(AssetSource::Text("hi".into())));
    match &out["all"] {
        Value::Archive(Archive {
            hash: None,
            source: ArchiveSource::Assets(entries),
        }) => assert_eq!(entries.len(), 2),
        other => panic!("{other:?}"),
    }
    let before = archive_hash(&out);
    assert_eq!(archive_hash(&run_once().await), before);
    fs_err::rename(
        folder.path().join("sub/deep/b"),
        folder.path().join("sub/c"),
    )
    .expect("moved");
    assert_ne!(archive_hash(&run_once().await), before);
}

#[tokio::test]
async fn a_failure_silences_its_dependents_and_nothing_else() {
    let text = r#"
name: shop
runtime: yaml
variables:
  gone: {fn::readFile: missing.txt}
  outside: {fn::select: [9, [1]]}
resources:
  fails: {type: "fake:Web", name: fail-1}
  after: {type: "fake:Web", properties: {name: "${fails.id}"}}
  other: {type: "fake:Web", properties: {any: "${gone}"}}
  fine: {type: "fake:Web"}
outputs:
  a: ${after.id}
  b: ${fine.id}
  c: ${gone}
"#;
    let folder = tempfile::tempdir().expect("temp folder");
    let (monitor, result) = run(text, context(&[]), FakeMonitor::default(), folder.path()).await;
    let Err(SourceError::Diagnostics(found)) = result else {
        panic!("{result:?}");
    };
    let mut shown: Vec<_> = found
        .iter()
        .map(|d| {
            let (line, column) = d.labels[0].file.line_column(d.labels[0].span.start);
            format!("{} {line}:{column} {}", d.code, d.message)
        })
        .collect();
    shown.sort();
    assert_eq!(
        shown,
        [
            "LG0218 5:24 cannot read `missing.txt`",
            "LG0218 6:26 index 9 is outside the list of 1",
        ]
    );
    let names: Vec<String> = monitor
        .registered
        .lock()
        .iter()
        .map(|r| r.name.clone())
        .collect();
    assert_eq!(names, ["fail-1", "fine"]);
    let outputs = monitor.outputs.lock().take().expect("outputs");
    assert_eq!(outputs, map(&[("b", "id-fine".into())]));
}

#[tokio::test]
async fn a_failed_registration_alone_stops_without_a_second_report() {
    let text = "name: shop\nruntime: yaml\nresources:\n  a: {type: \"fake:Web\", name: fail}\n";
    let folder = tempfile::tempdir().expect("temp folder");
    let (_, result) = run(text, context(&[]), FakeMonitor::default(), folder.path()).await;
    assert!(matches!(result, Err(SourceError::Stopped)), "{result:?}");
}

#[tokio::test]
async fn the_default_provider_serves_its_package() {
    let text = r#"
name: shop
runtime: yaml
resources:
  web: {type: "fake:Web"}
  prov: {type: "pulumi:providers:fake", defaultProvider: true}
"#;
    let folder = tempfile::tempdir().expect("temp folder");
    let (monitor, result) = run(text, context(&[]), FakeMonitor::default(), folder.path()).await;
    result.expect("runs");
    let registered = monitor.registered.lock();
    assert_eq!(registered[0].name, "prov");
    let provider = urn("pulumi:providers:fake", "prov");
    assert_eq!(
        registered[1].options.provider,
        Some(format!("{provider}::id-prov"))
    );
}

#[tokio::test]
async fn values_that_double_without_end_are_refused() {
    let mut text = "name: shop\nruntime: yaml\nvariables:\n  v0: \"0123456789\"\n".to_owned();
    for i in 1..40 {
        text.push_str(&format!("  v{i}: \"${{v{p}}}${{v{p}}}\"\n", p = i - 1));
    }
    let folder = tempfile::tempdir().expect("temp folder");
    let (_, result) = run(&text, context(&[]), FakeMonitor::default(), folder.path()).await;
    let Err(SourceError::Diagnostics(found)) = result else {
        panic!("{result:?}");
    };
    let messages: Vec<_> = found.iter().map(|d| d.message.as_str()).collect();
    assert_eq!(messages, ["the value is larger than 134217728 bytes"]);
}

#[tokio::test]
async fn a_secret_path_is_not_shown() {
    let text = "name: shop\nruntime: yaml\nconfig:\n  p: {type: string, secret: true}\noutputs:\n  a: {fn::readFile: \"${p}\"}\n";
    let folder = tempfile::tempdir().expect("temp folder");
    let config = [("shop:p", "canary".into())];
    let (_, result) = run(
        text,
        context(&config),
        FakeMonitor::default(),
        folder.path(),
    )
    .await;
    let shown = format!("{result:?}");
    assert!(shown.contains("cannot read the file"), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
}

#[tokio::test]
async fn declared_config_may_carry_the_project_in_its_key() {
    let text = "name: shop\nruntime: yaml\nconfig:\n  shop:size: {type: integer, default: 3}\n  aws:region: eu\noutputs:\n  a: ${size}\n  b: ${shop:size}\n  c: ${aws:region}\n";
    let out = outputs(text, &[("shop:size", 4.0.into())]).await;
    assert_eq!(
        out,
        map(&[("a", 4.0.into()), ("b", 4.0.into()), ("c", "eu".into())])
    );
}
