//! Secrets stay secret: in files, in output, in what is said.

use anyhow::Result;

use crate::support::world;

const PROGRAM: &str = "name: vault\nruntime: yaml\nresources:\n  word:\n    type: random:RandomPassword\n    properties:\n      length: 24\n  show:\n    type: command:local:Command\n    properties:\n      create: test -n \"$WORD\"\n      environment:\n        WORD: ${word.result}\noutputs:\n  word: ${word.result}\n";

#[test]
fn secrets_stay_secret() -> Result<()> {
    let world = world(PROGRAM)?;
    let up = world
        .run(&["up", "--yes", "--json", "--verbose"])?
        .expect(0)?;
    let word = world
        .run(&["stack", "output", "word", "--show-secrets"])?
        .expect(0)?
        .data;
    let word = word.trim();
    assert_eq!(word.chars().count(), 24);
    let said = format!("{}{}", up.data, up.talk);
    assert!(!said.contains(word), "the secret was printed");
    assert_eq!(world.files_with(word)?, Vec::<std::path::PathBuf>::new());
    assert_eq!(
        world.run(&["stack", "output", "word"])?.expect(0)?.data,
        "[secret]\n"
    );
    Ok(())
}

#[test]
fn a_wrong_passphrase_is_said_to_be_one() -> Result<()> {
    let mut world = world(PROGRAM)?;
    world.set_env("PULUMI_CONFIG_PASSPHRASE", "right");
    world.run(&["up", "--yes"])?.expect(0)?;
    let file = fs_err::read_to_string(world.project().join("Pulumi.dev.yaml"))?;
    assert!(file.contains("encryptionsalt: v1:"), "{file}");
    world.set_env("PULUMI_CONFIG_PASSPHRASE", "wrong");
    let refused = world.run(&["stack", "output", "word", "--show-secrets"])?;
    assert_ne!(refused.code, Some(0));
    assert!(refused.talk.contains("passphrase"), "{}", refused.talk);
    world.set_env("PULUMI_CONFIG_PASSPHRASE", "right");
    world
        .run(&["stack", "output", "word", "--show-secrets"])?
        .expect(0)?;
    Ok(())
}
