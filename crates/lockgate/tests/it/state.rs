//! The state by hand: list, show, delete, rename, marks; import; the graph; another stack name.

use anyhow::{Context as _, Result};
use lockgate_testkit::World;

use crate::support::{steps, world};

const PROGRAM: &str = r#"name: shop
runtime: yaml
resources:
  base: {type: "random:RandomPet", properties: {length: 2}}
  next: {type: "random:RandomPet", properties: {keepers: {of: "${base.id}"}}}
  word:
    type: random:RandomPassword
    properties: {length: 12}
    options: {protect: true, dependsOn: ["${next}"]}
outputs:
  base: ${base.id}
  word: ${word.result}
"#;

fn made() -> Result<World> {
    let world = world(PROGRAM)?;
    world.run(&["up", "--yes"])?.expect(0)?;
    Ok(world)
}

fn names(world: &World) -> Result<Vec<String>> {
    let rows = world.run(&["state", "list", "--json"])?.expect(0)?.json()?;
    let rows = rows.as_array().context("a list")?;
    let name = |row: &serde_json::Value| row["name"].as_str().map(str::to_owned);
    Ok(rows.iter().filter_map(name).collect())
}

#[test]
fn resources_are_listed_and_shown_with_their_secrets_masked() -> Result<()> {
    let world = made()?;
    assert_eq!(
        names(&world)?,
        ["shop-dev", "default", "base", "next", "word"]
    );
    let listed = world
        .run(&["state", "list", "**RandomPassword::*"])?
        .expect(0)?
        .data;
    assert_eq!(listed.lines().count(), 1, "{listed}");
    assert!(listed.contains("protected"), "{listed}");
    let shown = world.run(&["state", "show", "word"])?.expect(0)?.json()?;
    assert_eq!(shown["outputs"]["result"], "[secret]");
    assert_eq!(shown["marks"][0], "protected");
    let clear = world
        .run(&["state", "show", "word", "--show-secrets"])?
        .expect(0)?
        .json()?;
    assert_eq!(clear["outputs"]["result"].as_str().map(str::len), Some(12));
    let unknown = world.run(&["state", "show", "wrod"])?.expect(2)?;
    assert!(
        unknown.talk.contains("did you mean `word`"),
        "{}",
        unknown.talk
    );
    Ok(())
}

#[test]
fn forgetting_asks_and_spares_what_is_needed_or_protected() -> Result<()> {
    let world = made()?;
    let before =
        world.run(&["stack", "export"])?.expect(0)?.json()?["deployment"]["resources"].clone();
    let unchanged = || -> Result<()> {
        let now = world.run(&["stack", "export"])?.expect(0)?.json()?;
        assert_eq!(now["deployment"]["resources"], before);
        Ok(())
    };
    // Nobody can be asked here.
    world.run(&["state", "unprotect", "word"])?.expect(2)?;
    let needed = world
        .run(&["state", "delete", "base", "--yes"])?
        .expect(2)?;
    assert!(
        needed.talk.contains("--target-dependents"),
        "{}",
        needed.talk
    );
    let protected = world
        .run(&["state", "delete", "base", "--target-dependents", "--yes"])?
        .expect(2)?;
    assert!(protected.talk.contains("--force"), "{}", protected.talk);
    let dry = world.run(&[
        "state",
        "delete",
        "base",
        "--target-dependents",
        "--force",
        "--dry-run",
        "--json",
    ])?;
    let dry = dry.expect(0)?.json()?;
    assert_eq!(dry["dryRun"], true);
    assert_eq!(dry["changed"].as_array().map(Vec::len), Some(3));
    unchanged()?;

    world
        .run(&["state", "unprotect", "word", "--yes"])?
        .expect(0)?;
    world
        .run(&["state", "delete", "base", "--target-dependents", "--yes"])?
        .expect(0)?;
    assert_eq!(names(&world)?, ["shop-dev", "default"]);
    let history = world
        .run(&["stack", "history", "--json"])?
        .expect(0)?
        .json()?;
    assert_eq!(history[0]["kind"], "state");
    assert_eq!(history[0]["message"], "delete base, next, word");
    // What was forgotten is made anew.
    let up = world.run(&["up", "--yes", "--json"])?.expect(0)?;
    assert!(steps(&up)?.contains(&"create base".to_owned()));
    Ok(())
}

#[test]
fn a_renamed_resource_is_the_same_to_a_renamed_program() -> Result<()> {
    let world = made()?;
    let taken = world
        .run(&["state", "rename", "base", "next", "--yes"])?
        .expect(2)?;
    assert!(
        taken.talk.contains("in the state already"),
        "{}",
        taken.talk
    );
    world
        .run(&["state", "rename", "base", "first", "--yes"])?
        .expect(0)?;
    world.write(
        "Pulumi.yaml",
        &PROGRAM
            .replace("base:", "first:")
            .replace("${base", "${first"),
    )?;
    let up = world.run(&["up", "--yes", "--json"])?.expect(0)?;
    assert_eq!(steps(&up)?, [""; 0]);
    Ok(())
}

#[test]
fn a_tainted_resource_is_replaced_once() -> Result<()> {
    let world = made()?;
    let word = world.run(&["state", "show", "next"])?.expect(0)?.json()?;
    world.run(&["state", "taint", "next", "--yes"])?.expect(0)?;
    world
        .run(&["state", "untaint", "next", "--yes"])?
        .expect(0)?;
    world.run(&["preview", "--exit-code"])?.expect(0)?;
    world.run(&["state", "taint", "next", "--yes"])?.expect(0)?;
    world.run(&["up", "--yes"])?.expect(0)?;
    let again = world.run(&["state", "show", "next"])?.expect(0)?.json()?;
    assert_ne!(word["id"], again["id"]);
    world
        .run(&["up", "--yes", "--expect-no-changes"])?
        .expect(0)?;
    Ok(())
}

#[test]
fn an_import_prints_a_declaration_that_changes_nothing() -> Result<()> {
    let world = made()?;
    let imported = world
        .run(&["import", "random:RandomString", "old", "aB3$x", "--yes"])?
        .expect(0)?;
    let (_, declaration) = imported
        .data
        .split_once("resources:\n")
        .context("a declaration")?;
    assert!(declaration.contains("protect: true"), "{declaration}");
    let program = PROGRAM.replace("outputs:\n", &format!("{declaration}outputs:\n"));
    world.write("Pulumi.yaml", &program)?;
    let up = world.run(&["up", "--yes", "--json"])?.expect(0)?;
    assert_eq!(steps(&up)?, [""; 0], "{program}");
    let twice = world
        .run(&["import", "random:RandomString", "other", "aB3$x", "--yes"])?
        .expect(1)?;
    assert!(twice.talk.contains("manages the id"), "{}", twice.talk);
    let unknown = world
        .run(&["import", "random:RandomStrin", "other", "x", "--yes"])?
        .expect(2)?;
    assert!(unknown.talk.contains("did you mean"), "{}", unknown.talk);
    // A secret that was read is not shown.
    let secret = world
        .run(&[
            "import",
            "random:RandomPassword",
            "pw",
            "canary-4711",
            "--yes",
            "--json",
        ])?
        .expect(0)?;
    assert!(
        !secret
            .data
            .replace("\"id\":\"canary", "")
            .contains("\"result\":\"canary")
    );
    Ok(())
}

#[test]
fn a_stack_takes_its_secrets_config_and_history_to_a_new_name() -> Result<()> {
    let world = made()?;
    world
        .run(&["config", "set", "--secret", "pin", "canary-4711"])?
        .expect(0)?;
    let word = world
        .run(&["stack", "output", "word", "--show-secrets"])?
        .expect(0)?
        .data;
    world.run(&["stack", "init", "other"])?.expect(0)?;
    world.run(&["stack", "select", "dev"])?.expect(0)?;
    world
        .run(&["stack", "rename", "other", "--yes"])?
        .expect(2)?;
    world.run(&["stack", "rename", "prod"])?.expect(2)?;
    world
        .run(&["stack", "rename", "prod", "--yes"])?
        .expect(0)?;
    assert!(!world.project().join("Pulumi.dev.yaml").exists());
    assert_eq!(
        world.run(&["config", "get", "pin"])?.expect(0)?.data,
        "canary-4711\n"
    );
    let now = world
        .run(&["stack", "output", "word", "--show-secrets"])?
        .expect(0)?
        .data;
    assert_eq!(now, word);
    let up = world.run(&["up", "--yes", "--json"])?.expect(0)?;
    assert_eq!(steps(&up)?, [""; 0]);
    let history = world
        .run(&["stack", "history", "--json"])?
        .expect(0)?
        .json()?;
    let kinds: Vec<_> = history
        .as_array()
        .into_iter()
        .flatten()
        .map(|h| &h["kind"])
        .collect();
    assert_eq!(kinds, ["update", "state", "update"]);
    world.run(&["preview", "--stack", "dev"])?.expect(0)?;
    let stacks = world.run(&["stack", "ls", "--json"])?.expect(0)?.json()?;
    assert_eq!(stacks.as_array().map(Vec::len), Some(2), "{stacks}");
    Ok(())
}

#[test]
fn the_graph_names_every_resource_and_its_needs() -> Result<()> {
    let world = made()?;
    world
        .run(&["stack", "graph", "--file", "stack.dot"])?
        .expect(0)?;
    let text = fs_err::read_to_string(world.project().join("stack.dot"))?;
    assert!(text.starts_with("digraph \"shop/dev\" {\n"), "{text}");
    let urn =
        |kind: &str, name: &str| format!("\"urn:pulumi:dev::shop::random:index/{kind}::{name}\"");
    let line = format!(
        "  {} -> {};\n",
        urn("randomPet:RandomPet", "next"),
        urn("randomPet:RandomPet", "base")
    );
    assert!(text.contains(&line), "{text}");
    assert_eq!(text.matches("style=dashed").count(), 3);
    let bare = world
        .run(&["stack", "graph", "--no-parents"])?
        .expect(0)?
        .data;
    assert!(!bare.contains("dashed"), "{bare}");
    Ok(())
}

#[test]
fn targets_and_excludes_choose_by_pattern() -> Result<()> {
    let world = world(PROGRAM)?;
    let first = world
        .run(&[
            "up",
            "--yes",
            "--json",
            "--exclude",
            "**::next",
            "--exclude-dependents",
        ])?
        .expect(0)?;
    let first = steps(&first)?;
    assert!(first.contains(&"create base".to_owned()), "{first:?}");
    assert!(
        !first
            .iter()
            .any(|s| s.ends_with("next") || s.ends_with("word")),
        "{first:?}"
    );
    world.run(&["up", "--yes"])?.expect(0)?;
    let replaced = world
        .run(&[
            "up",
            "--yes",
            "--json",
            "--target",
            "**::base",
            "--target-dependents",
            "--replace",
            "**RandomPet::n*",
        ])?
        .expect(0)?;
    let replaced = steps(&replaced)?;
    assert!(
        replaced.contains(&"replace next".to_owned()),
        "{replaced:?}"
    );
    world
        .run(&["up", "--exclude-dependents", "--yes"])?
        .expect(2)?;
    let all = world
        .run(&["state", "protect", "--all", "--yes", "--json"])?
        .expect(0)?
        .json()?;
    assert_eq!(all["changed"].as_array().map(Vec::len), Some(2), "{all}");
    world
        .run(&["state", "unprotect", "--all", "--yes"])?
        .expect(0)?;
    world
        .run(&["destroy", "--yes", "--exclude", "**::next"])?
        .expect(0)?;
    assert_eq!(names(&world)?, ["shop-dev", "default", "base", "next"]);
    let typo = world
        .run(&["destroy", "--yes", "--exclude", "**::nxt"])?
        .expect(1)?;
    assert!(typo.talk.contains("LG0251"), "{}", typo.talk);
    Ok(())
}

#[test]
fn a_program_for_another_engine_is_refused() -> Result<()> {
    let world = made()?;
    let program = PROGRAM.replace(
        "runtime: yaml\n",
        "runtime: yaml\nrequiredPulumiVersion: \">=4.0.0\"\n",
    );
    world.write("Pulumi.yaml", &program)?;
    let refused = world.run(&["preview"])?.expect(2)?;
    assert!(refused.talk.contains("LG0220"), "{}", refused.talk);
    assert!(
        refused.talk.contains("Pulumi.yaml:3:24"),
        "{}",
        refused.talk
    );
    // What does not run the program still works.
    world.run(&["stack", "output"])?.expect(0)?;
    Ok(())
}
