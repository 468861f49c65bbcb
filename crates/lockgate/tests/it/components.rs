//! Components of YAML programs: the guide's example from nothing to nothing.

use anyhow::{Context as _, Result};

use crate::support::{steps, world};

/// The first YAML block of a guide.
fn block() -> Result<&'static str> {
    let guide = include_str!("../../../../docs/guides/components.md");
    let (_, rest) = guide.split_once("```yaml\n").context("a block")?;
    Ok(rest.split_once("```").context("its end")?.0)
}

#[test]
fn the_guide_is_made_renamed_protected_and_removed() -> Result<()> {
    let program = block()?;
    let world = world(program)?;
    let made = world.run(&["up", "--yes", "--json"])?.expect(0)?;
    let made = steps(&made)?;
    for name in [
        "north",
        "north-pet",
        "north-key",
        "south",
        "south-pet",
        "south-key",
    ] {
        assert!(made.contains(&format!("create {name}")), "{name}: {made:?}");
    }
    let name = world.run(&["stack", "output", "north"])?.expect(0)?.data;
    assert!(name.starts_with("hello-dev-"), "{name}");
    let shown = world.run(&["stack", "output"])?.expect(0)?.data;
    assert!(shown.contains("key: [secret]"), "{shown}");
    let again = world.run(&["up", "--yes"])?.expect(0)?;
    assert!(again.talk.contains("no changes"), "{}", again.talk);

    // A renamed use takes everything inside along.
    let renamed = program
        .replace(
            "  north:\n    type: Shop\n",
            "  main:\n    type: Shop\n    options: {aliases: [{name: north}]}\n",
        )
        .replace("${north.", "${main.");
    world.write("Pulumi.yaml", &renamed)?;
    let output = world.run(&["up", "--yes", "--json"])?.expect(0)?;
    assert_eq!(steps(&output)?, [""; 0]);
    assert_eq!(
        world.run(&["stack", "output", "north"])?.expect(0)?.data,
        name
    );
    let state = world.run(&["stack", "export"])?.expect(0)?.data;
    let urn = "shop:index:Shop$random:index/randomPet:RandomPet::main-pet";
    assert!(state.contains(urn), "{state}");

    // Protection reaches what is inside.
    let refused = world.run(&["destroy", "--yes"])?.expect(1)?;
    assert!(refused.talk.contains("south-key"), "{}", refused.talk);
    world.write(
        "Pulumi.yaml",
        &renamed.replace("protect: true", "protect: false"),
    )?;
    world.run(&["up", "--yes"])?.expect(0)?;
    world.run(&["destroy", "--yes"])?.expect(0)?;
    world.run(&["stack", "rm", "dev"])?.expect(0)?;
    Ok(())
}

#[test]
fn a_wrong_use_is_told_at_its_place_before_anything_is_made() -> Result<()> {
    let program = block()?.replace("{greeting: hello}", "{greting: hello}");
    let world = world(&program)?;
    let refused = world.run(&["up", "--yes"])?.expect(2)?;
    assert!(
        refused.talk.contains("Pulumi.yaml:25:18"),
        "{}",
        refused.talk
    );
    assert!(
        refused.talk.contains("did you mean `greeting`"),
        "{}",
        refused.talk
    );
    Ok(())
}
