//! Node.js programs: how they fail, and that JavaScript needs no compiler.

use anyhow::Result;
use lockgate_testkit::languages::Language;

use super::{fails_without_deletes, managed, program};

const IMPORTS: &str =
    "import * as pulumi from '@pulumi/pulumi';\nimport * as random from '@pulumi/random';\n";

#[test]
fn however_a_program_fails_nothing_is_deleted() -> Result<()> {
    let text = format!("{IMPORTS}new random.RandomPet('a');\nnew random.RandomPet('b');\n");
    let world = program(Language::Nodejs, &text)?;
    world.run(&["up", "--yes"])?.expect(0)?;
    let pet = "const a = new random.RandomPet('a');\n";
    let cases = [
        ("throw new Error('at once');\n".to_owned(), (1, "at once")),
        (
            format!("{pet}throw new Error('between');\n"),
            (1, "between"),
        ),
        (
            format!("{pet}a.id.apply(() => {{ throw new Error('after all'); }});\n"),
            (1, "after all"),
        ),
        (
            format!("{pet}Promise.reject(new Error('not awaited'));\n"),
            (1, "not awaited"),
        ),
        (format!("{pet}process.exit(0);\n"), (1, "still active")),
        (format!("{pet}process.exit(7);\n"), (1, "exit code 7")),
        (
            "process.kill(process.pid, 'SIGKILL');\n".to_owned(),
            (1, "signal 9"),
        ),
        (
            "new pulumi.CustomResource('nope:index:Thing', 's', {});\n".to_owned(),
            (2, "no package `nope`"),
        ),
        (
            "import * as gone from 'gone';\ngone.x;\n".to_owned(),
            (1, "gone"),
        ),
    ];
    for (text, end) in cases {
        fails_without_deletes(&world, ("index.ts", &format!("{IMPORTS}{text}")), end)?;
    }
    Ok(())
}

/// In colour, Node.js searches such a stack trace until its memory for one text is used up; there
/// is less of it here.
#[test]
fn a_forgotten_property_is_told_at_once() -> Result<()> {
    let text = format!("{IMPORTS}new random.RandomString('s', {{}} as any);\n");
    let world = program(Language::Nodejs, &text)?;
    let project =
        "name: x\nruntime: {name: nodejs, options: {nodeargs: --max-old-space-size=192}}\n";
    world.write("Pulumi.yaml", project)?;
    let failed = world.run(&["preview"])?.expect(1)?;
    let told = failed.talk + &failed.data;
    assert!(
        told.contains("Missing required property 'length'"),
        "{told}"
    );
    Ok(())
}

#[test]
fn javascript_runs_without_the_compiler() -> Result<()> {
    let world = program(Language::Nodejs, "")?;
    fs_err::remove_file(world.project().join("index.ts"))?;
    world.write(
        "Pulumi.yaml",
        "name: x\nruntime:\n  name: nodejs\n  options:\n    typescript: false\n",
    )?;
    world.write("package.json", "{\"name\": \"x\", \"main\": \"index.js\"}")?;
    let text = "const random = require('@pulumi/random');\nconst pulumi = require('@pulumi/pulumi');\nconst pet = new random.RandomPet('pet');\nexports.stack = pulumi.getStack();\nexports.size = new pulumi.Config().requireObject('size').deep;\n";
    world.write("index.js", text)?;
    world.write("Pulumi.dev.yaml", "config:\n  x:size:\n    deep: [1, 2]\n")?;
    world.run(&["up", "--yes"])?.expect(0)?;
    let outputs = world
        .run(&["stack", "output", "--json"])?
        .expect(0)?
        .json()?;
    assert_eq!(outputs["stack"], "dev");
    assert_eq!(outputs["size"], serde_json::json!([1, 2]));
    assert_eq!(managed(&world)?, ["pet"]);
    Ok(())
}
