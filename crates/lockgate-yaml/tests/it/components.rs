//! Components: what their uses register, and in which order.

use lockgate_engine::source::SourceError;
use lockgate_model::{PropertyMap, Value};
use lockgate_yaml::Context;

use crate::fake::{FakeMonitor, checked, context, run, urn};

const SITE: &str = r#"
name: shop
runtime: yaml
components:
  Site:
    description: A web server with its database.
    inputs:
      title: {type: string}
      size: {type: integer, default: 3}
      password: {type: string, secret: true, optional: true}
      owner: {type: any, optional: true}
    variables:
      label: ${title}-${pulumi.stack}
    resources:
      db:
        type: fake:data:Db
        properties: {engine: e, password: "${password}"}
      web:
        type: fake:Web
        properties:
          name: ${label}
          size: ${size}
          any: ${db.url}
    outputs:
      url: ${web.url}
      label: ${label}
"#;

async fn outcome(
    text: &str,
    monitor: FakeMonitor,
) -> (std::sync::Arc<FakeMonitor>, Result<(), SourceError>) {
    let folder = tempfile::tempdir().expect("temp folder");
    run(text, context(&[]), monitor, folder.path()).await
}

fn names(monitor: &FakeMonitor) -> Vec<String> {
    let registered = monitor.registered.lock();
    let mut names: Vec<String> = registered.iter().map(|r| r.name.clone()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn each_use_registers_a_component_and_what_is_inside_under_it() {
    let text = SITE.to_owned()
        + r#"
resources:
  one:
    type: Site
    properties: {title: a, size: 7, password: p}
  two:
    type: shop:Site
    name: second
    properties: {title: "${one.url}"}
  after:
    type: fake:Web
    properties: {any: "${one.url}"}
    options: {dependsOn: ["${two}"]}
outputs:
  url: ${two.url}
  label: ${one.label}
"#;
    let (monitor, result) = outcome(&text, FakeMonitor::default()).await;
    result.expect("runs");
    let expected = [
        "after",
        "one",
        "one-db",
        "one-web",
        "second",
        "second-db",
        "second-web",
    ];
    assert_eq!(names(&monitor), expected);
    let registered = monitor.registered.lock();
    let find = |name: &str| registered.iter().find(|r| r.name == name).expect("there");

    let one = find("one");
    assert_eq!(one.type_token, "shop:index:Site");
    assert!(!one.custom);
    assert_eq!(one.inputs["size"], Value::from(7.0));
    assert_eq!(one.inputs["password"], Value::from("p").into_secret());
    let site = |name: &str| urn("shop:index:Site", name);
    let web = find("one-web");
    assert_eq!(web.options.parent, Some(site("one")));
    assert_eq!(web.inputs["name"], Value::from("a-dev"));
    assert_eq!(web.inputs["size"], Value::from(7.0));
    let inside = |name: &str, kind: &str| {
        lockgate_model::Urn::new("dev", "shop", Some(&site("one")), kind, name)
    };
    let db_urn = inside("one-db", "fake:data:Db");
    assert_eq!(web.options.depends_on, std::slice::from_ref(&db_urn));
    assert_eq!(
        find("one-db").inputs["password"],
        Value::from("p").into_secret()
    );
    // The default, and a database without a password.
    assert_eq!(find("second-web").inputs["size"], Value::from(3.0));
    assert!(!find("second-db").inputs.contains_key("password"));
    assert_eq!(
        find("second-web").inputs["name"],
        Value::from("http://one-web-dev")
    );

    // An output brings what made it; the whole component brings everything inside.
    let after = find("after");
    let one_web = inside("one-web", "fake:index/web:Web");
    assert!(
        after.options.depends_on.contains(&one_web),
        "{:?}",
        after.options.depends_on
    );
    assert!(!after.options.depends_on.contains(&db_urn));
    let second = |name: &str, kind: &str| {
        lockgate_model::Urn::new("dev", "shop", Some(&site("second")), kind, name)
    };
    for member in [
        site("second"),
        second("second-db", "fake:data:Db"),
        second("second-web", "fake:index/web:Web"),
    ] {
        assert!(after.options.depends_on.contains(&member), "{member}");
    }
    let outputs = monitor.outputs.lock().take().expect("outputs");
    assert_eq!(outputs["url"], Value::from("http://second-web"));
    assert_eq!(outputs["label"], Value::from("a-dev"));
    let component_outputs = monitor.component_outputs.lock();
    let (_, of_one) = component_outputs
        .iter()
        .find(|(u, _)| *u == site("one"))
        .expect("outputs");
    let expected: PropertyMap = [
        ("label".to_owned(), Value::from("a-dev")),
        ("url".to_owned(), Value::from("http://one-web")),
    ]
    .into();
    assert_eq!(*of_one, expected);
}

#[tokio::test]
async fn components_nest_and_hand_their_values_down() {
    let text = r#"
name: shop
runtime: yaml
components:
  Outer:
    inputs: {title: string, owner: {type: any}}
    resources:
      left: {type: Inner, properties: {title: "${title}-l"}}
      right: {type: Inner, properties: {title: "${left.name}-r"}}
      beside: {type: fake:Web, options: {parent: "${owner}"}}
    outputs:
      name: ${right.name}
  Inner:
    inputs: {title: string}
    resources:
      web: {type: fake:Web, properties: {name: "${title}"}}
    outputs:
      name: ${web.name}
resources:
  base: {type: fake:Web}
  top: {type: Outer, properties: {title: t, owner: "${base}"}}
outputs:
  name: ${top.name}
"#;
    let (monitor, result) = outcome(text, FakeMonitor::default()).await;
    result.expect("runs");
    let expected = [
        "base",
        "top",
        "top-beside",
        "top-left",
        "top-left-web",
        "top-right",
        "top-right-web",
    ];
    assert_eq!(names(&monitor), expected);
    let registered = monitor.registered.lock();
    let find = |name: &str| registered.iter().find(|r| r.name == name).expect("there");
    let outer = urn("shop:index:Outer", "top");
    let left =
        lockgate_model::Urn::new("dev", "shop", Some(&outer), "shop:index:Inner", "top-left");
    assert_eq!(find("top-left-web").options.parent, Some(left));
    assert_eq!(
        find("top-beside").options.parent,
        Some(urn("fake:index/web:Web", "base"))
    );
    let outputs = monitor.outputs.lock().take().expect("outputs");
    assert_eq!(outputs["name"], Value::from("t-l-r"));
}

#[tokio::test]
async fn default_providers_reach_into_components_that_use_their_package() {
    let text = r#"
name: shop
runtime: yaml
components:
  Site:
    resources:
      inner: {type: Leaf}
  Leaf:
    resources:
      web: {type: fake:Web}
  Empty:
    outputs: {x: 1}
resources:
  # Before its provider in the file: the order must come from the use.
  site: {type: Site}
  empty: {type: Empty}
  mine:
    type: pulumi:providers:fake
    defaultProvider: true
    properties: {region: "${empty.x}"}
"#;
    let (monitor, result) = outcome(text, FakeMonitor::default()).await;
    result.expect("runs");
    let registered = monitor.registered.lock();
    let position = |name: &str| {
        registered
            .iter()
            .position(|r| r.name == name)
            .expect("there")
    };
    assert!(position("mine") < position("site"));
    assert!(position("empty") < position("mine"));
    let providers = &registered[position("site")].options.providers;
    let mine = format!("{}::id-mine", urn("pulumi:providers:fake", "mine"));
    assert_eq!(providers.get("fake"), Some(&mine));
    assert!(registered[position("empty")].options.providers.is_empty());
}

#[tokio::test]
async fn mistakes_inside_name_the_use_and_stop_what_depends_on_it() {
    let text = r#"
name: shop
runtime: yaml
components:
  Site:
    inputs: {list: {type: any}}
    resources:
      web: {type: fake:Web, properties: {name: "${list[3]}"}}
    outputs: {name: "${web.name}"}
resources:
  site: {type: Site, properties: {list: [1]}}
  other: {type: fake:Web}
  after: {type: fake:Web, properties: {name: "${site.name}"}}
"#;
    let (monitor, result) = outcome(text, FakeMonitor::default()).await;
    let Err(SourceError::Diagnostics(found)) = result else {
        panic!("{result:?}");
    };
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].message, "index 3 is outside the list of 1");
    assert_eq!(found[0].labels[1].text, "inside `site`");
    assert_eq!(names(&monitor), ["other", "site"]);
    assert_eq!(*monitor.component_outputs.lock(), []);
}

#[tokio::test]
async fn inputs_take_their_declared_type_when_they_are_evaluated() {
    let text = r#"
name: shop
runtime: yaml
components:
  Site:
    inputs: {size: integer}
    resources:
      web: {type: fake:Web, properties: {size: "${size}"}}
variables:
  small: "8"
  wrong: many
resources:
  good: {type: Site, properties: {size: "${small}"}}
  bad: {type: Site, properties: {size: "${wrong}"}}
  none: {type: Site, properties: {size: null}}
"#;
    let (monitor, result) = outcome(text, FakeMonitor::default()).await;
    let Err(SourceError::Diagnostics(found)) = result else {
        panic!("{result:?}");
    };
    let mut messages: Vec<&str> = found.iter().map(|d| d.message.as_str()).collect();
    messages.sort_unstable();
    assert_eq!(
        messages,
        [
            "component `none` needs the property `size`",
            "input `size` of `bad` must be a whole number",
        ]
    );
    let registered = monitor.registered.lock();
    let web = registered
        .iter()
        .find(|r| r.name == "good-web")
        .expect("there");
    assert_eq!(web.inputs["size"], Value::from(8.0));
}

#[tokio::test]
async fn a_failure_inside_is_told_once_and_leaves_dependents_out() {
    let text = r#"
name: shop
runtime: yaml
components:
  Site:
    resources:
      web: {type: fake:Web}
      other: {type: fake:Web, properties: {name: "${web.name}"}}
    outputs: {url: "${web.url}", one: 1}
resources:
  fails: {type: Site}
  after: {type: fake:Web, properties: {any: "${fails.one}"}}
"#;
    let (monitor, result) = outcome(text, FakeMonitor::default()).await;
    assert!(matches!(result, Err(SourceError::Stopped)), "{result:?}");
    assert_eq!(names(&monitor), ["fails", "fails-web"]);
    assert_eq!(*monitor.component_outputs.lock(), []);
}

#[test]
fn a_component_cannot_take_the_type_of_a_package() {
    let text = "name: fake\nruntime: yaml\ncomponents:\n  Web: {outputs: {a: 1}}\n";
    let context = Context {
        project: "fake".into(),
        ..context(&[])
    };
    let (_, found) = checked(text, context);
    let messages: Vec<&str> = found.iter().map(|d| d.message.as_str()).collect();
    let expected = "component `Web` has the type of a resource of package `fake`";
    assert_eq!(messages, [expected]);
}

/// A chain in which each component uses the next `width` times.
fn chain(depth: usize, width: usize) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("name: shop\nruntime: yaml\ncomponents:\n");
    for level in 0..depth {
        let _ = write!(text, "  L{level}:\n    resources:\n");
        for use_ in 0..width {
            let kind = match level + 1 < depth {
                true => format!("L{}", level + 1),
                false => "fake:Web".to_owned(),
            };
            let _ = writeln!(text, "      r{use_}: {{type: \"{kind}\"}}");
        }
    }
    text + "resources:\n  top: {type: L0}\n"
}

#[test]
fn what_components_multiply_to_is_bounded() {
    for (depth, width, expected) in [
        (
            5,
            10,
            Some("with its components the program has more than 100000 names"),
        ),
        (32, 1, None),
        (
            33,
            1,
            Some("component `L0` nests others 33 deep, the limit is 32"),
        ),
        (
            30,
            4,
            Some("with its components the program has more than 100000 names"),
        ),
    ] {
        let (_, found) = checked(&chain(depth, width), context(&[]));
        let messages: Vec<&str> = found.iter().map(|d| d.message.as_str()).collect();
        assert_eq!(messages, Vec::from_iter(expected), "{depth} {width}");
    }
}
