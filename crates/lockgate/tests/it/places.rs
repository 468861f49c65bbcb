//! What a provider refuses is told at its place in the program, and the exit code says that the
//! program is wrong: 2, as long as nothing was changed.

use anyhow::{Context as _, Result, ensure};
use lockgate_testkit::languages::Language;
use lockgate_testkit::{Output, World};
use serde_json::Value;

use crate::languages::program;
use crate::support::world;

/// A place: file, line and column.
type Place<'a> = (&'a str, u64, u64);

/// Runs a preview as text and as JSON; both must name the places of the one refusal, the main one
/// first, and what the text shows under it.
fn refused_at(world: &World, places: &[Place<'_>], shown: &str, reason: &str) -> Result<()> {
    let text = world.run(&["preview"])?.expect(2)?;
    ensure!(text.talk.contains("error[LG0244]: "), "{}", text.talk);
    ensure!(text.talk.contains(reason), "no {reason}: {}", text.talk);
    let mut marks = text.talk.lines().filter_map(|line| {
        let line = line.trim_start();
        line.strip_prefix("--> ").or(line.strip_prefix("::: "))
    });
    for (file, line, column) in places {
        ensure!(
            marks.next() == Some(&format!("{file}:{line}:{column}")),
            "not at {file}:{line}:{column}: {}",
            text.talk
        );
    }
    ensure!(marks.next().is_none(), "more places: {}", text.talk);
    ensure!(text.talk.contains(shown), "no {shown}: {}", text.talk);
    ensure!(text.talk.contains("hint: correct"), "{}", text.talk);

    let json = world.run(&["--json", "preview"])?.expect(2)?;
    let told = events(&json)?;
    let [event] = told.as_slice() else {
        anyhow::bail!("not one refusal: {told:?}");
    };
    let last = json.talk.lines().last().context("a diagnostic")?;
    for diagnostic in [event, &serde_json::from_str::<Value>(last)?] {
        ensure!(diagnostic["code"] == "LG0244", "{diagnostic}");
        let labels = diagnostic["labels"].as_array().context("labels")?;
        let found: Vec<_> = labels
            .iter()
            .filter_map(|l| {
                Some((
                    l["file"].as_str()?,
                    l["line"].as_u64()?,
                    l["column"].as_u64()?,
                ))
            })
            .collect();
        ensure!(found == places, "{diagnostic}");
    }
    Ok(())
}

/// The diagnostics among the events of a run.
fn events(output: &Output) -> Result<Vec<Value>> {
    let told = output.json_lines()?.into_iter();
    Ok(told
        .map(|event| event["diagnosticEvent"]["diagnostic"].clone())
        .filter(Value::is_object)
        .collect())
}

const TOP: &str = "\
name: shop
runtime: yaml
resources:
  fine:
    type: random:RandomPet
  token:
    type: random:RandomString
    properties:
      special: false
      length: 0
";

#[test]
fn a_property_of_a_yaml_program_is_told_at_its_place() -> Result<()> {
    let world = world(TOP)?;
    let reason = "property `length` of `urn:pulumi:dev::shop::random:index/randomString:RandomString::token`: expected 1 to";
    world.run(&["stack", "init", "dev"])?.expect(0)?;
    refused_at(&world, &[("Pulumi.yaml", 10, 15)], "length: 0", reason)?;

    // What is marked secret is found inside of the mark.
    world.write(
        "Pulumi.yaml",
        &TOP.replace("length: 0", "length: {fn::secret: 0}"),
    )?;
    refused_at(&world, &[("Pulumi.yaml", 10, 28)], "fn::secret: 0", reason)?;

    // A resource whose properties do not fit together is told at its name.
    let none = TOP.replace(
        "length: 0",
        "length: 4\n      upper: false\n      lower: false\n      numeric: false",
    );
    world.write("Pulumi.yaml", &none)?;
    let reason = "RandomString::token`: every class of characters is switched off";
    refused_at(&world, &[("Pulumi.yaml", 6, 3)], "token:", reason)?;

    // So is one whose property does not stand in the text.
    let whole = TOP.replace(
        "    properties:\n      special: false\n      length: 0\n",
        "    properties: ${all}\nvariables:\n  all:\n    length: 0\n",
    );
    world.write("Pulumi.yaml", &whole)?;
    refused_at(&world, &[("Pulumi.yaml", 8, 17)], "${all}", "expected 1 to")
}

const ROUTE: &str = "\
name: shop
runtime: yaml
variables:
  prefix: api/
resources:
  api:
    type: lockgate:gateway:Route
    properties:
      paths:
        - /
        - ${prefix}
      auth: { public: true }
      backends:
        - url: http://127.0.0.1:1
        - url: http://127.0.0.1:2
          weight: -1
";

#[test]
fn nested_properties_are_told_as_deep_as_the_text_goes() -> Result<()> {
    let world = world(ROUTE)?;
    world.run(&["stack", "init", "dev"])?.expect(0)?;
    let fine = ROUTE.replace("  prefix: api/", "  prefix: /api/");
    // An item of a list.
    let mended = ROUTE.replace("weight: -1", "weight: 1");
    world.write("Pulumi.yaml", &mended)?;
    refused_at(
        &world,
        &[("Pulumi.yaml", 11, 11)],
        "${prefix}",
        "property `paths[1]`",
    )?;
    // A property of an item.
    world.write("Pulumi.yaml", &fine)?;
    refused_at(
        &world,
        &[("Pulumi.yaml", 16, 19)],
        "weight: -1",
        "property `backends[1].weight`",
    )?;
    // A list that is too short is told at its name.
    let empty = fine.split("      backends:").next().context("text")?;
    world.write("Pulumi.yaml", &format!("{empty}      backends: []\n"))?;
    refused_at(
        &world,
        &[("Pulumi.yaml", 13, 7)],
        "backends: []",
        "property `backends`",
    )?;
    // What only a variable holds is told where the variable is used.
    let variable = fine.replace(
        "resources:",
        "  all:\n    - url: http://127.0.0.1:1\n      weight: -1\nresources:",
    );
    let variable = variable
        .split("      backends:")
        .next()
        .context("text")?
        .to_owned();
    world.write(
        "Pulumi.yaml",
        &format!("{variable}      backends: ${{all}}\n"),
    )?;
    refused_at(
        &world,
        &[("Pulumi.yaml", 16, 17)],
        "${all}",
        "property `backends[0].weight`",
    )
}

const SERVICE: &str = "\
name: shop
runtime: yaml
resources:
  web:
    type: lockgate:service:Service
    properties:
      image: registry.example.org/team/web@sha256:0000000000000000000000000000000000000000000000000000000000000000
      env:
        GOOD: '1'
        'a=b': '2'
";

#[test]
fn a_key_of_a_map_is_told_at_its_place() -> Result<()> {
    let world = world(SERVICE)?;
    world.run(&["stack", "init", "dev"])?.expect(0)?;
    refused_at(
        &world,
        &[("Pulumi.yaml", 10, 16)],
        "'a=b'",
        "cannot name a variable",
    )
}

#[test]
fn inside_a_component_the_place_is_in_its_own_text_and_the_use_is_shown_too() -> Result<()> {
    let world = world("name: shop\nruntime: yaml\n")?;
    world.write(
        "Main.yaml",
        "\
components:
  Token:
    inputs:
      size: { type: integer }
    resources:
      text:
        type: random:RandomString
        properties:
          length: ${size}
  Pair:
    resources:
      left:
        type: Token
        properties: { size: 4 }
      right:
        type: Token
        properties: { size: 0 }
resources:
  pair:
    type: Pair
",
    )?;
    world.run(&["stack", "init", "dev"])?.expect(0)?;
    let places = [
        ("Main.yaml", 9, 19),
        ("Main.yaml", 15, 7),
        ("Main.yaml", 19, 3),
    ];
    refused_at(
        &world,
        &places,
        "inside `right`",
        "::pair-right-text`: expected 1 to",
    )
}

#[test]
fn what_the_engine_refuses_about_a_declaration_has_its_place() -> Result<()> {
    let program = "name: shop\nruntime: yaml\nresources:\n  one:\n    type: random:RandomPet\n    name: pet\n  two:\n    type: random:RandomPet\n    name: pet\n    options: { dependsOn: ['${one}'] }\n";
    let world = world(program)?;
    world.run(&["stack", "init", "dev"])?.expect(0)?;
    let twice = world.run(&["preview"])?.expect(2)?;
    ensure!(twice.talk.contains("error[LG0241]"), "{}", twice.talk);
    ensure!(twice.talk.contains("--> Pulumi.yaml:7:3"), "{}", twice.talk);

    let option = "name: shop\nruntime: yaml\nresources:\n  one:\n    type: random:RandomPet\n    options:\n      ignoreChanges: ['a[']\n";
    world.write("Pulumi.yaml", option)?;
    let malformed = world.run(&["preview"])?.expect(2)?;
    ensure!(
        malformed.talk.contains("error[LG0259]"),
        "{}",
        malformed.talk
    );
    ensure!(
        malformed.talk.contains("--> Pulumi.yaml:4:3"),
        "{}",
        malformed.talk
    );
    Ok(())
}

/// An `up` asks the providers with what it made: `length` is known only then.
const LATE: &str = "\
name: shop
runtime: yaml
resources:
  first:
    type: random:RandomInteger
    properties: { min: 0, max: 0 }
  token:
    type: random:RandomString
    properties:
      length: ${first.result}
";

#[test]
fn an_update_that_made_something_before_the_refusal_has_failed() -> Result<()> {
    let world = world(LATE)?;
    world.run(&["preview"])?.expect(0)?;
    let failed = world.run(&["up", "--yes"])?.expect(1)?;
    ensure!(failed.talk.contains("error[LG0244]"), "{}", failed.talk);
    ensure!(
        failed.talk.contains("--> Pulumi.yaml:10:15"),
        "{}",
        failed.talk
    );
    // Nothing is made before the second refusal: by now, the first resource is known.
    let refused = world.run(&["up", "--yes"])?.expect(2)?;
    ensure!(
        refused.talk.contains("--> Pulumi.yaml:10:15"),
        "{}",
        refused.talk
    );
    Ok(())
}

#[test]
fn with_another_failure_beside_it_the_run_has_failed() -> Result<()> {
    let mixed = TOP.replace(
        "resources:\n",
        "resources:\n  away:\n    type: pulumi:pulumi:StackReference\n    properties: { name: no-such-stack }\n",
    );
    let world = world(&mixed)?;
    world.run(&["stack", "init", "dev"])?.expect(0)?;
    let failed = world.run(&["preview"])?.expect(1)?;
    ensure!(failed.talk.contains("error[LG0244]"), "{}", failed.talk);
    Ok(())
}

#[test]
fn a_python_program_is_told_at_the_line_that_makes_the_resource() -> Result<()> {
    let text = "\
import pulumi_random as random
import made


def token(name):
    return random.RandomString(
        name,
        length=0,
    )


token('a')
";
    let world = program(Language::Python, text)?;
    world.write("made.py", "")?;
    world.run(&["stack", "init", "dev"])?.expect(0)?;
    let reason = "RandomString::a`: expected 1 to";
    refused_at(
        &world,
        &[("__main__.py", 6, 5)],
        "random.RandomString(",
        reason,
    )?;

    // In another file of the program.
    world.write(
        "__main__.py",
        "import pulumi_random as random\nimport made\n",
    )?;
    world.write(
        "made.py",
        "import pulumi_random as random\n\nrandom.RandomString('a', length=0)\n",
    )?;
    let shown = "random.RandomString('a', length=0)";
    refused_at(&world, &[("made.py", 3, 1)], shown, reason)?;

    // A file that is not there in earnest is not looked at: the error is the same without.
    let elsewhere = world.home().join("made.py");
    world.write_home(
        "made.py",
        &fs_err::read_to_string(world.project().join("made.py"))?,
    )?;
    fs_err::remove_file(world.project().join("made.py"))?;
    std::os::unix::fs::symlink(elsewhere, world.project().join("made.py"))?;
    let unplaced = world.run(&["preview"])?.expect(2)?;
    ensure!(unplaced.talk.contains("error[LG0244]"), "{}", unplaced.talk);
    ensure!(!unplaced.talk.contains("length=0"), "{}", unplaced.talk);
    let hint = "hint: correct `length` where the program declares `a`";
    ensure!(unplaced.talk.contains(hint), "{}", unplaced.talk);

    // The engine's own findings have their line, too.
    world.write(
        "__main__.py",
        "import pulumi, pulumi_random as random\nfirst = random.RandomPet('a')\nrandom.RandomPet('a', opts=pulumi.ResourceOptions(depends_on=[first]))\n",
    )?;
    let twice = world.run(&["preview"])?.expect(2)?;
    ensure!(twice.talk.contains("error[LG0241]"), "{}", twice.talk);
    ensure!(twice.talk.contains("--> __main__.py:3:1"), "{}", twice.talk);
    for (token, code, hint) in [
        ("nope:index:Thing", "LG0253", ""),
        (
            "random:index/randomStrin:RandomStrin",
            "LG0217",
            "hint: did you mean `random:index/randomString:RandomString`",
        ),
    ] {
        let text = format!(
            "import pulumi\n\nclass Thing(pulumi.CustomResource):\n    def __init__(self, name):\n        super().__init__('{token}', name, {{}})\n\nThing('s')\n"
        );
        world.write("__main__.py", &text)?;
        let unknown = world.run(&["preview"])?.expect(2)?;
        for part in [&format!("error[{code}]"), "--> __main__.py:7:1", hint] {
            ensure!(unknown.talk.contains(part), "no {part}: {}", unknown.talk);
        }
    }
    Ok(())
}

#[test]
fn a_typescript_program_is_told_at_the_line_that_makes_the_resource() -> Result<()> {
    let text = "\
import * as random from '@pulumi/random';

type Size = { length: number };

const size: Size = { length: 0 };
const token = new random.RandomString('a', size);
";
    let world = program(Language::Nodejs, text)?;
    world.run(&["stack", "init", "dev"])?.expect(0)?;
    let reason = "RandomString::a`: expected 1 to";
    refused_at(
        &world,
        &[("index.ts", 6, 15)],
        "new random.RandomString(",
        reason,
    )
}
