//! Programs that read the outputs of other stacks.

use anyhow::Result;
use lockgate_testkit::World;
use lockgate_testkit::languages::Language;

use super::{fails_without_deletes, program};

const OTHER: &str = "name: base\nruntime: yaml\noutputs:\n  host: h.example\n  list: [1, {'fn::secret': CANARY-list}]\n  key: {'fn::secret': CANARY-key}\n";

/// The programs of both languages. `REF` is the name of the other stack.
const PROGRAMS: [(Language, &str, &str); 2] = [
    (
        Language::Python,
        "__main__.py",
        "import pulumi\n\
         ref = pulumi.StackReference('REF')\n\
         for name in ('host', 'list', 'key'):\n    pulumi.export(name, ref.require_output(name))\n\
         pulumi.export('gone', ref.get_output('gone').apply(lambda v: v is None))\n",
    ),
    (
        Language::Nodejs,
        "index.ts",
        "import * as pulumi from '@pulumi/pulumi';\n\
         const ref = new pulumi.StackReference('REF');\n\
         export const host = ref.requireOutput('host');\n\
         export const list = ref.requireOutput('list');\n\
         export const key = ref.requireOutput('key');\n\
         export const gone = ref.getOutput('gone').apply((v) => v === undefined);\n",
    ),
];

/// Makes stack `prod` of project `base`, in the same home.
fn base(world: &World) -> Result<()> {
    world.write("base/Pulumi.yaml", OTHER)?;
    let up = ["--cwd", "base", "--stack", "prod", "up", "--yes"];
    world.run(&up)?.expect(0)?;
    Ok(())
}

#[test]
fn outputs_of_another_stack_arrive_and_its_secrets_stay_secret() -> Result<()> {
    for (language, _, text) in PROGRAMS {
        let world = program(language, &text.replace("REF", "organization/base/prod"))?;
        base(&world)?;
        let up = world.run(&["up", "--yes"])?.expect(0)?;
        assert!(up.data.contains("key: [secret]"), "{}", up.data);
        assert!(!(up.data + &up.talk).contains("CANARY"));
        let output = ["stack", "output", "--json", "--show-secrets"];
        let outputs = world.run(&output)?.expect(0)?.json()?;
        let expected = serde_json::json!({
            "host": "h.example", "list": [1, "CANARY-list"], "key": "CANARY-key", "gone": true,
        });
        assert_eq!(outputs, expected);
        let kept = world.files_with("CANARY")?;
        let only = world.project().join("base/Pulumi.yaml");
        assert_eq!(kept, [only], "a secret is on the disk in clear");
        let same = world.run(&["up", "--yes"])?.expect(0)?;
        assert!(
            same.talk.contains("1 to read, 1 unchanged"),
            "{}",
            same.talk
        );
        world.run(&["preview", "--exit-code"])?.expect(0)?;
        // What the other stack says next is heard.
        world.write("base/Pulumi.yaml", &OTHER.replace("h.example", "i.example"))?;
        let again = ["--cwd", "base", "--stack", "prod", "up", "--yes"];
        world.run(&again)?.expect(0)?;
        let next = world.run(&["up", "--yes"])?.expect(0)?;
        assert!(next.data.contains("host: i.example"), "{}", next.data);
        world.run(&["refresh", "--yes"])?.expect(0)?;
        world.run(&["destroy", "--yes"])?.expect(0)?;
    }
    Ok(())
}

#[test]
fn a_short_name_is_of_the_own_project() -> Result<()> {
    let world = program(
        Language::Python,
        "import pulumi\n\
         if pulumi.get_stack() == 'base':\n    pulumi.export('host', 'h')\n\
         else:\n    pulumi.export('host', pulumi.StackReference('base').get_output('host'))\n",
    )?;
    for stack in ["base", "dev"] {
        let up = world.run(&["up", "--yes", "--stack", stack])?.expect(0)?;
        assert!(up.data.contains("host: h"), "{}", up.data);
    }
    Ok(())
}

#[test]
fn a_stack_that_is_not_there_is_named_with_those_that_are() -> Result<()> {
    for (language, file, text) in PROGRAMS {
        let world = program(language, &text.replace("REF", "base/prod"))?;
        base(&world)?;
        world.run(&["up", "--yes"])?.expect(0)?;
        let text = text.replace("REF", "base/prdo");
        let failed = fails_without_deletes(&world, (file, &text), (1, "no stack `base/prdo`"))?;
        for part in ["did you mean `base/prod`", "base/prod, x/dev"] {
            assert!(failed.talk.contains(part), "{}", failed.talk);
        }
        assert_eq!(failed.talk.matches("error[").count(), 1, "{}", failed.talk);
    }
    Ok(())
}
