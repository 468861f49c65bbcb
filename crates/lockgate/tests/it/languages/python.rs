//! Python programs: how they fail, what they can say, how much of it there may be.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use lockgate_testkit::World;
use lockgate_testkit::languages::Language;
use lockgate_testkit::world::wait_until;

use super::{fails_without_deletes, managed, program, steps};

const LIMIT: Duration = Duration::from_secs(60);
const IMPORTS: &str =
    "import pulumi\nimport pulumi_random as random\nimport pulumi_command as command\n";

/// A world whose stack has two resources already.
fn settled() -> Result<World> {
    let text = format!("{IMPORTS}random.RandomPet('a')\nrandom.RandomPet('b')\n");
    let world = program(Language::Python, &text)?;
    world.run(&["up", "--yes"])?.expect(0)?;
    Ok(world)
}

#[test]
fn however_a_program_fails_nothing_is_deleted() -> Result<()> {
    let world = settled()?;
    let cases = [
        ("raise Exception('at once')\n", (1, "at once")),
        ("import nothing_like_this\n", (1, "nothing_like_this")),
        (
            "random.RandomPet('a')\nraise Exception('between')\n",
            (1, "between"),
        ),
        (
            "def later(_):\n    raise Exception('after all')\nrandom.RandomPet('a').id.apply(later)\n",
            (1, "after all"),
        ),
        (
            "raise pulumi.RunError('for the user')\n",
            (1, "for the user"),
        ),
        (
            "import sys\nrandom.RandomPet('a')\nsys.exit(3)\n",
            (1, "sys.exit(3)"),
        ),
        (
            "import os\nrandom.RandomPet('a')\nos._exit(44)\n",
            (1, "exit code 44"),
        ),
        (
            "import os\nrandom.RandomPet('a')\nos._exit(0)\n",
            (1, "LG0263"),
        ),
        (
            "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n",
            (1, "signal 11"),
        ),
        (
            "class Strange(pulumi.CustomResource):\n    pass\nStrange('nope:index:Thing', 's', {})\n",
            (2, "no package `nope`"),
        ),
        (
            "pulumi.CustomResource('randm:index/randomPet:RandomPet', 's', {})\n",
            (2, "did you mean `random`"),
        ),
        (
            "pulumi.CustomResource('random:index/randomPat:RandomPat', 's', {})\n",
            (2, "did you mean `random:index/randomPet:RandomPet`"),
        ),
        (
            "random.RandomPet('a')\nrandom.RandomPet('a')\n",
            (2, "registered already"),
        ),
        ("random.RandomString('s', length=-1)\n", (2, "length")),
    ];
    for (text, end) in cases {
        let text = format!("{IMPORTS}{text}");
        fails_without_deletes(&world, ("__main__.py", &text), end)?;
    }
    Ok(())
}

#[test]
fn a_traceback_shows_the_program_and_not_what_runs_it() -> Result<()> {
    let world = program(
        Language::Python,
        "def inner():\n    raise KeyError('k')\n\ninner()\n",
    )?;
    let failed = world.run(&["preview"])?.expect(1)?;
    assert!(failed.talk.contains("line 2, in inner"), "{}", failed.talk);
    assert!(!failed.talk.contains("runpy"), "{}", failed.talk);
    assert!(!failed.talk.contains("asyncio"), "{}", failed.talk);
    Ok(())
}

#[test]
fn leaving_early_with_success_is_success() -> Result<()> {
    let text = format!("{IMPORTS}import sys\nrandom.RandomPet('a')\nsys.exit(0)\n");
    let world = program(Language::Python, &text)?;
    world.run(&["up", "--yes"])?.expect(0)?;
    assert_eq!(managed(&world)?, ["a"]);
    Ok(())
}

/// Starts an `up` whose second run of the program waits, and gives the pid of that program.
fn waiting(world: &World) -> Result<(std::process::Child, u32)> {
    let wait = "import os, time\nif not pulumi.runtime.is_dry_run():\n    open('pid.part', 'w').write(str(os.getpid()))\n    os.rename('pid.part', 'pid')\n    while True:\n        time.sleep(0.05)\n";
    let text = format!("{IMPORTS}random.RandomPet('a')\n{wait}");
    world.write("__main__.py", &text)?;
    // Previews end well, so the plan that is applied has the delete of `b`.
    let run = world
        .command(&["up", "--yes", "--allow-deletes"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let pid = world.project().join("pid");
    wait_until("the program", LIMIT, || Ok(pid.exists()))?;
    Ok((run, fs_err::read_to_string(&pid)?.parse()?))
}

fn signal(name: &str, pid: u32) -> Result<()> {
    let status = Command::new("kill")
        .args([name, &pid.to_string()])
        .status()?;
    ensure!(status.success(), "kill {name} {pid}: {status}");
    Ok(())
}

#[test]
fn a_killed_program_deletes_nothing() -> Result<()> {
    let world = settled()?;
    let (mut run, pid) = waiting(&world)?;
    signal("-9", pid)?;
    assert_eq!(run.wait()?.code(), Some(1));
    assert_eq!(managed(&world)?, ["a", "b"]);
    Ok(())
}

#[test]
fn the_second_interrupt_ends_a_program_that_hears_nothing() -> Result<()> {
    let world = settled()?;
    let (mut run, pid) = waiting(&world)?;
    signal("-INT", run.id())?;
    signal("-INT", run.id())?;
    assert_eq!(run.wait()?.code(), Some(130));
    let gone = || Ok(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    wait_until("the end of the program", LIMIT, gone)?;
    assert_eq!(managed(&world)?, ["a", "b"]);
    Ok(())
}

#[test]
fn a_program_learns_that_everything_is_done_only_after_the_deletes() -> Result<()> {
    let world = settled()?;
    let gone = "command.local.Command('c', create='true', delete='echo deleted >> order')\n";
    world.write("__main__.py", &format!("{IMPORTS}{gone}"))?;
    world.run(&["up", "--yes", "--allow-deletes"])?.expect(0)?;
    let late = "import atexit\nif not pulumi.runtime.is_dry_run():\n    atexit.register(lambda: open('order', 'a').write('ended\\n'))\n";
    world.write("__main__.py", &format!("{IMPORTS}{late}"))?;
    world.run(&["up", "--yes", "--allow-deletes"])?.expect(0)?;
    let order = fs_err::read_to_string(world.project().join("order"))?;
    assert_eq!(order, "deleted\nended\n");
    Ok(())
}

#[test]
fn options_reach_the_engine() -> Result<()> {
    let world = settled()?;
    let text = format!(
        "{IMPORTS}\
         a = random.RandomPet('new', opts=pulumi.ResourceOptions(aliases=[pulumi.Alias(name='a')], protect=True))\n\
         b = random.RandomPet('b', length=9, opts=pulumi.ResourceOptions(ignore_changes=['length'], depends_on=[a]))\n\
         c = command.local.Command('c', create='true', opts=pulumi.ResourceOptions(\
         custom_timeouts=pulumi.CustomTimeouts(create='1h30m'), retain_on_delete=True, additional_secret_outputs=['stdout']))\n"
    );
    world.write("__main__.py", &text)?;
    let output = world.run(&["up", "--yes", "--json"])?.expect(0)?;
    assert_eq!(
        steps(&output)?,
        ["create c", "create c"],
        "preview and update"
    );
    let state = world.run(&["stack", "export"])?.expect(0)?.json()?;
    let find = |name: &str| {
        let resources = state["deployment"]["resources"].as_array();
        let mut found = resources.into_iter().flatten();
        let end = format!("::{name}");
        found
            .find(|r| r["urn"].as_str().is_some_and(|urn| urn.ends_with(&end)))
            .cloned()
            .unwrap_or_default()
    };
    assert_eq!(find("new")["protect"], true);
    assert_eq!(find("b")["dependencies"][0], find("new")["urn"]);
    let c = find("c");
    assert_eq!(c["customTimeouts"]["create"], 5400.0);
    assert_eq!(c["retainOnDelete"], true);
    assert!(c["outputs"]["stdout"]["ciphertext"].is_string(), "{c}");
    assert!(
        c["sourcePosition"]
            .as_str()
            .is_some_and(|p| p.starts_with("project:///__main__.py#")),
        "{c}"
    );
    Ok(())
}

#[test]
fn functions_and_reads_answer_the_program() -> Result<()> {
    let text = format!(
        "{IMPORTS}\
         said = command.local.run(command='echo 6*7')\n\
         pet = random.RandomPet('pet')\n\
         later = command.local.run_output(command=pulumi.Output.format('echo {{0}}', pet.id))\n\
         pulumi.export('said', said.stdout)\n\
         pulumi.export('same', pulumi.Output.all(later.stdout, pet.id).apply(lambda p: p[0] == p[1]))\n"
    );
    let world = program(Language::Python, &text)?;
    world.run(&["up", "--yes"])?.expect(0)?;
    let outputs = world
        .run(&["stack", "output", "--json"])?
        .expect(0)?
        .json()?;
    assert_eq!(outputs["said"], "6*7");
    assert_eq!(outputs["same"], true);
    Ok(())
}

#[test]
fn a_changed_file_of_an_asset_is_a_change() -> Result<()> {
    let text = format!(
        "{IMPORTS}\
         command.local.Command('c', create='true', triggers=[pulumi.FileAsset('data.txt'), pulumi.FileArchive('site')])\n"
    );
    let world = program(Language::Python, &text)?;
    world.write("data.txt", "one")?;
    world.write("site/index.html", "one")?;
    world.run(&["up", "--yes"])?.expect(0)?;
    for file in ["data.txt", "site/index.html"] {
        let same = world.run(&["up", "--yes"])?.expect(0)?;
        assert!(same.talk.contains("no changes"), "{}", same.talk);
        world.write(file, "two")?;
        world.run(&["preview", "--exit-code"])?.expect(3)?;
        world.run(&["up", "--yes"])?.expect(0)?;
    }
    Ok(())
}

#[test]
fn secret_config_is_in_no_file_and_in_no_environment() -> Result<()> {
    let text = format!(
        "{IMPORTS}\
         token = pulumi.Config().require_secret('token')\n\
         seen = open('/proc/self/environ').read() + open('/proc/self/cmdline').read()\n\
         pulumi.export('seen', 'CANARY' in seen)\n\
         pulumi.export('token', token)\n\
         random.RandomPet('pet', keepers={{'token': token}})\n"
    );
    let world = program(Language::Python, &text)?;
    world.run(&["stack", "init", "dev"])?.expect(0)?;
    world
        .run(&["config", "set", "--secret", "token", "CANARY-d41d8"])?
        .expect(0)?;
    world.run(&["up", "--yes"])?.expect(0)?;
    let outputs = world
        .run(&["stack", "output", "--json"])?
        .expect(0)?
        .json()?;
    assert_eq!(outputs["seen"], false, "the environment shows secrets");
    assert_eq!(
        world.files_with("CANARY-d41d8")?,
        Vec::<std::path::PathBuf>::new()
    );
    Ok(())
}

#[test]
fn with_continue_on_error_the_rest_is_made_and_the_failure_is_told() -> Result<()> {
    let text = format!(
        "{IMPORTS}\
         bad = command.local.Command('bad', create='exit 3')\n\
         command.local.Command('after', create='true', opts=pulumi.ResourceOptions(depends_on=[bad]))\n\
         command.local.Command('other', create='true')\n"
    );
    let world = program(Language::Python, &text)?;
    let failed = world.run(&["up", "--yes", "--continue-on-error"])?;
    let failed = failed.expect(1)?;
    assert!(
        failed.talk.contains("::after` was left out"),
        "{}",
        failed.talk
    );
    assert_eq!(managed(&world)?, ["other"]);
    Ok(())
}

#[test]
fn many_registrations_at_once_and_a_large_property_all_arrive() -> Result<()> {
    let text = format!(
        "{IMPORTS}\
         random.RandomPet('big', keepers={{'data': 'x' * (6 << 20)}})\n\
         for index in range(400):\n    random.RandomString(f's{{index}}', length=8)\n"
    );
    let world = program(Language::Python, &text)?;
    world.run(&["up", "--yes"])?.expect(0)?;
    assert_eq!(managed(&world)?.len(), 401);
    let same = world.run(&["up", "--yes"])?.expect(0)?;
    assert!(same.talk.contains("no changes"), "{}", same.talk);
    Ok(())
}

#[test]
fn main_may_be_a_folder_and_its_paths_are_its_own() -> Result<()> {
    let world = program(Language::Python, "")?;
    world.write("Pulumi.yaml", "name: x\nruntime: python\nmain: infra\n")?;
    let text = format!(
        "{IMPORTS}import helper\npulumi.export('text', helper.TEXT + open('data.txt').read())\n"
    );
    world.write("infra/__main__.py", &text)?;
    world.write("infra/helper.py", "TEXT = 'from '\n")?;
    world.write("infra/data.txt", "here")?;
    world.run(&["up", "--yes"])?.expect(0)?;
    let outputs = world
        .run(&["stack", "output", "--json"])?
        .expect(0)?
        .json()?;
    assert_eq!(outputs["text"], "from here");
    Ok(())
}

#[test]
fn replacements_follow_triggers_and_other_resources() -> Result<()> {
    let text = |trigger: u32| {
        format!(
            "{IMPORTS}\
             base = random.RandomPet('base', opts=pulumi.ResourceOptions(replacement_trigger={trigger}))\n\
             random.RandomPet('beside', opts=pulumi.ResourceOptions(replace_with=[base]))\n\
             random.RandomPet('inside', opts=pulumi.ResourceOptions(deleted_with=base))\n"
        )
    };
    let world = program(Language::Python, &text(1))?;
    world.run(&["up", "--yes"])?.expect(0)?;
    let same = world.run(&["up", "--yes"])?.expect(0)?;
    assert!(same.talk.contains("no changes"), "{}", same.talk);
    world.write("__main__.py", &text(22))?;
    let changed = steps(&world.run(&["preview", "--json"])?.expect(0)?)?;
    for name in ["base", "beside", "inside"] {
        let step = format!("replace {name}");
        assert!(changed.contains(&step), "no {step}: {changed:?}");
    }
    Ok(())
}

#[test]
fn a_resource_can_be_a_property_and_a_component_a_parent() -> Result<()> {
    let text = format!(
        "{IMPORTS}\
         class Box(pulumi.ComponentResource):\n    def __init__(self, name):\n        super().__init__('my:index:Box', name)\n\
         \x20       self.pet = random.RandomPet('pet', opts=pulumi.ResourceOptions(parent=self))\n\
         \x20       self.register_outputs({{'pet': self.pet}})\n\
         box = Box('box')\n\
         c = command.local.Command('c', create='true', triggers=[box.pet, box])\n\
         pulumi.export('pet', box.pet)\npulumi.export('triggers', c.triggers)\n"
    );
    let world = program(Language::Python, &text)?;
    world.run(&["up", "--yes"])?.expect(0)?;
    let same = world.run(&["up", "--yes"])?.expect(0)?;
    assert!(same.talk.contains("no changes"), "{}", same.talk);
    let state = world.run(&["stack", "export"])?.expect(0)?.data;
    assert!(state.contains("my:index:Box$random:index/randomPet:RandomPet::pet"));
    Ok(())
}

#[test]
fn a_program_that_hides_a_lost_registration_deletes_nothing() -> Result<()> {
    let world = settled()?;
    let text = format!(
        "{IMPORTS}import time\n\
         from pulumi.runtime.proto import resource_pb2\n\
         random.RandomPet('a')\n\
         slow = resource_pb2.RegisterResourceRequest(type='command:local:Command', name='slow', custom=True)\n\
         slow.object.update({{'create': 'touch started; while [ ! -e go ]; do sleep 0.02; done'}})\n\
         call = pulumi.runtime.settings.get_monitor().RegisterResource.future(slow)\n\
         if pulumi.runtime.is_dry_run():\n    call.result()\nelse:\n    import os\n    while not os.path.exists('started'):\n        time.sleep(0.01)\n    call.cancel()\n    open('go', 'w')\n"
    );
    world.write("__main__.py", &text)?;
    let failed = world.run(&["up", "--yes"])?.expect(1)?;
    assert!(failed.talk.contains("LG0263"), "{}", failed.talk);
    // What was under way is finished and remembered; what looked unwanted is still there.
    assert_eq!(managed(&world)?, ["a", "b", "slow"]);
    Ok(())
}

#[test]
fn an_old_sdk_is_complete_when_it_exits_well_and_only_then() -> Result<()> {
    let text = format!("{IMPORTS}random.RandomPet('a')\nrandom.RandomPet('b')\n");
    let world = program(Language::OldPython, &text)?;
    world.run(&["up", "--yes"])?.expect(0)?;
    let broken = format!("{IMPORTS}random.RandomPet('a')\nraise Exception('between')\n");
    fails_without_deletes(&world, ("__main__.py", &broken), (1, "between"))?;
    world.write("__main__.py", &format!("{IMPORTS}random.RandomPet('a')\n"))?;
    world.run(&["up", "--yes"])?.expect(0)?;
    assert_eq!(managed(&world)?, ["a"]);
    Ok(())
}
