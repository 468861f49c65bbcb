//! Resources, their changes and their options.

use super::{Expect, Feature, same};
use anyhow::ensure;
use serde_json::json;

pub(super) const FEATURES: &[Feature] = &[
    Feature {
        id: "update",
        title: "Update in place",
        python: "command.local.Command('updated', create=f'echo {step}')",
        nodejs: "new command.local.Command('updated', { create: `echo ${step}` });",
        yaml: "
resources:
  updated:
    type: command:local:Command
    properties: {create: echo @STEP@}
",
        expect: Expect::Works(|seen| {
            same(&seen.resource("updated")?["outputs"]["stdout"], &json!("2"))?;
            seen.did("updated", &["update"])
        }),
    },
    Feature {
        id: "replace",
        title: "Replacement, new one first",
        python: "random.RandomString('replaced', length=4 + step)",
        nodejs: "new random.RandomString('replaced', { length: 4 + step });",
        yaml: "
resources:
  replaced:
    type: random:RandomString
    properties: {length: 1@STEP@}
",
        expect: Expect::Works(|seen| {
            seen.did("replaced", &["create-replacement", "replace", "delete-replaced"])
        }),
    },
    Feature {
        id: "delete",
        title: "Deletion of what the program no longer names",
        python: "
if step == 1:
    random.RandomPet('gone')
",
        nodejs: "if (step === 1) new random.RandomPet('gone');",
        yaml: "
resources:
  gone: {type: 'random:RandomPet'} # only 1
",
        expect: Expect::Works(|seen| seen.did("gone", &["delete"])),
    },
    Feature {
        id: "component",
        title: "Components with children and outputs",
        python: "Box('box')",
        nodejs: "new Box('box');",
        yaml: "
resources:
  box: {type: Box}
",
        expect: Expect::Works(|seen| {
            let pet = seen.resource("box-pet")?;
            let chain = "::x:index:Box$random:index/randomPet:RandomPet::box-pet";
            let urn = pet["urn"].as_str().unwrap_or_default();
            ensure!(urn.ends_with(chain), "{urn}");
            same(&seen.resource("box")?["outputs"]["pet"], &pet["id"])
        }),
    },
    Feature {
        id: "parent",
        title: "`parent`",
        python: "random.RandomPet('child', opts=Options(parent=random.RandomPet('mother')))",
        nodejs: "new random.RandomPet('child', {}, { parent: new random.RandomPet('mother') });",
        yaml: "
resources:
  mother: {type: 'random:RandomPet'}
  child:
    type: random:RandomPet
    options: {parent: '${mother}'}
",
        expect: Expect::Works(|seen| {
            let mother = &seen.resource("mother")?["urn"];
            same(&seen.resource("child")?["parent"], mother)
        }),
    },
    Feature {
        id: "depends-on",
        title: "`dependsOn`",
        python: "random.RandomPet('later', opts=Options(depends_on=[random.RandomPet('sooner')]))",
        nodejs: "new random.RandomPet('later', {}, { dependsOn: [new random.RandomPet('sooner')] });",
        yaml: "
resources:
  sooner: {type: 'random:RandomPet'}
  later:
    type: random:RandomPet
    options: {dependsOn: ['${sooner}']}
",
        expect: Expect::Works(|seen| {
            let sooner = &seen.resource("sooner")?["urn"];
            same(&seen.resource("later")?["dependencies"][0], sooner)
        }),
    },
    Feature {
        id: "depends-on-component",
        title: "`dependsOn` a component: all of its children",
        python: "random.RandomPet('after-box', opts=Options(depends_on=[Box('first')]))",
        nodejs: "new random.RandomPet('after-box', {}, { dependsOn: [new Box('first')] });",
        yaml: "
resources:
  first: {type: Box}
  after-box:
    type: random:RandomPet
    options: {dependsOn: ['${first}']}
",
        expect: Expect::Works(|seen| {
            let pet = &seen.resource("first-pet")?["urn"];
            let all = &seen.resource("after-box")?["dependencies"];
            let has = all.as_array().is_some_and(|all| all.contains(pet));
            ensure!(has, "{pet} is not in {all}");
            Ok(())
        }),
    },
    Feature {
        id: "protect",
        title: "`protect`",
        python: "random.RandomPet('safe', opts=Options(protect=True))",
        nodejs: "new random.RandomPet('safe', {}, { protect: true });",
        yaml: "
resources:
  safe:
    type: random:RandomPet
    options: {protect: true}
",
        expect: Expect::Works(|seen| same(&seen.resource("safe")?["protect"], &json!(true))),
    },
    Feature {
        id: "ignore-changes",
        title: "`ignoreChanges`",
        python: "random.RandomString('ignored', length=4 + step, opts=Options(ignore_changes=['length']))",
        nodejs: "new random.RandomString('ignored', { length: 4 + step }, { ignoreChanges: ['length'] });",
        yaml: "
resources:
  ignored:
    type: random:RandomString
    properties: {length: 1@STEP@}
    options: {ignoreChanges: [length]}
",
        expect: Expect::Works(|seen| seen.unchanged("ignored")),
    },
    Feature {
        id: "replace-on-changes",
        title: "`replaceOnChanges`",
        python: "command.local.Command('forced', create='true', environment={'A': str(step)}, opts=Options(replace_on_changes=['environment']))",
        nodejs: "new command.local.Command('forced', { create: 'true', environment: { A: String(step) } }, { replaceOnChanges: ['environment'] });",
        yaml: "
resources:
  forced:
    type: command:local:Command
    properties: {create: 'true', environment: {A: 'step @STEP@'}}
    options: {replaceOnChanges: [environment]}
",
        expect: Expect::Works(|seen| {
            seen.did("forced", &["create-replacement", "replace", "delete-replaced"])
        }),
    },
    Feature {
        id: "delete-before-replace",
        title: "`deleteBeforeReplace`",
        python: "random.RandomString('swapped', length=4 + step, opts=Options(delete_before_replace=True))",
        nodejs: "new random.RandomString('swapped', { length: 4 + step }, { deleteBeforeReplace: true });",
        yaml: "
resources:
  swapped:
    type: random:RandomString
    properties: {length: 1@STEP@}
    options: {deleteBeforeReplace: true}
",
        expect: Expect::Works(|seen| {
            seen.did("swapped", &["delete-replaced", "create-replacement", "replace"])
        }),
    },
    Feature {
        id: "replace-with",
        title: "`replaceWith`",
        python: "
base = random.RandomString('replace-base', length=4 + step)
random.RandomPet('replace-beside', opts=Options(replace_with=[base]))
",
        nodejs: "
const base = new random.RandomString('replace-base', { length: 4 + step });
new random.RandomPet('replace-beside', {}, { replaceWith: [base] });
",
        yaml: "
resources:
  replace-base:
    type: random:RandomString
    properties: {length: 1@STEP@}
  replace-beside:
    type: random:RandomPet
    options: {replaceWith: ['${replace-base}']}
",
        expect: Expect::Works(|seen| {
            seen.did("replace-beside", &["create-replacement", "replace", "delete-replaced"])
        }),
    },
    Feature {
        id: "replacement-trigger",
        title: "`replacementTrigger`",
        python: "random.RandomPet('triggered', opts=Options(replacement_trigger=step))",
        nodejs: "new random.RandomPet('triggered', {}, { replacementTrigger: step });",
        yaml: "
resources:
  triggered:
    type: random:RandomPet
    options: {replacementTrigger: @STEP@}
",
        expect: Expect::Works(|seen| {
            seen.did("triggered", &["create-replacement", "replace", "delete-replaced"])
        }),
    },
    Feature {
        id: "additional-secret-outputs",
        title: "`additionalSecretOutputs`",
        python: "command.local.Command('quiet', create='echo CANARY-3', opts=Options(additional_secret_outputs=['stdout']))",
        nodejs: "new command.local.Command('quiet', { create: 'echo CANARY-3' }, { additionalSecretOutputs: ['stdout'] });",
        yaml: "
resources:
  quiet:
    type: command:local:Command
    properties: {create: echo CANARY-3}
    options: {additionalSecretOutputs: [stdout]}
",
        expect: Expect::Works(|seen| {
            let stdout = &seen.resource("quiet")?["outputs"]["stdout"];
            ensure!(stdout["ciphertext"].is_string(), "{stdout}");
            Ok(())
        }),
    },
    Feature {
        id: "alias-name",
        title: "`aliases`: another name",
        python: "random.RandomPet(f'named-{step}', opts=Options(aliases=[pulumi.Alias(name='named-1')]))",
        nodejs: "new random.RandomPet(`named-${step}`, {}, { aliases: [{ name: 'named-1' }] });",
        yaml: "
resources:
  named:
    type: random:RandomPet
    name: named-@STEP@
    options: {aliases: [{name: named-1}]}
",
        expect: Expect::Works(|seen| {
            seen.unchanged("named-2")?;
            seen.did("named-1", &[])
        }),
    },
    Feature {
        id: "alias-parent",
        title: "`aliases`: another parent",
        python: "
other = random.RandomPet('new-mother')
random.RandomPet('moved', opts=Options() if step == 1 else Options(parent=other, aliases=[pulumi.Alias(parent=pulumi.ROOT_STACK_RESOURCE)]))
",
        nodejs: "
const other = new random.RandomPet('new-mother');
new random.RandomPet('moved', {}, step === 1 ? {} : { parent: other, aliases: [{ parent: pulumi.rootStackResource }] });
",
        yaml: "
resources:
  new-mother: {type: 'random:RandomPet'}
  moved: {type: 'random:RandomPet'} # only 1
  moved: # only 2
    type: random:RandomPet # only 2
    options: {parent: '${new-mother}', aliases: [{noParent: true}]} # only 2
",
        expect: Expect::Works(|seen| {
            seen.unchanged("moved")?;
            let mother = &seen.resource("new-mother")?["urn"];
            same(&seen.resource("moved")?["parent"], mother)
        }),
    },
    Feature {
        id: "custom-timeouts",
        title: "`customTimeouts`",
        python: "random.RandomPet('slow', opts=Options(custom_timeouts=pulumi.CustomTimeouts(create='1h30m')))",
        nodejs: "new random.RandomPet('slow', {}, { customTimeouts: { create: '1h30m' } });",
        yaml: "
resources:
  slow:
    type: random:RandomPet
    options: {customTimeouts: {create: 1h30m}}
",
        expect: Expect::Works(|seen| {
            same(&seen.resource("slow")?["customTimeouts"]["create"], &json!(5400.0))
        }),
    },
    Feature {
        id: "retain-on-delete",
        title: "`retainOnDelete`",
        python: "
if step == 1:
    command.local.Command('kept', create='true', delete='exit 9', opts=Options(retain_on_delete=True))
",
        nodejs: "if (step === 1) new command.local.Command('kept', { create: 'true', delete: 'exit 9' }, { retainOnDelete: true });",
        yaml: "
resources:
  kept: # only 1
    type: command:local:Command # only 1
    properties: {create: 'true', delete: exit 9} # only 1
    options: {retainOnDelete: true} # only 1
",
        // Its delete would fail if it were called.
        expect: Expect::Works(|seen| seen.did("kept", &["delete"])),
    },
    Feature {
        id: "deleted-with",
        title: "`deletedWith`",
        python: "
if step == 1:
    whole = random.RandomPet('whole')
    command.local.Command('part', create='true', delete='exit 9', opts=Options(deleted_with=whole))
",
        nodejs: "
if (step === 1) {
    const whole = new random.RandomPet('whole');
    new command.local.Command('part', { create: 'true', delete: 'exit 9' }, { deletedWith: whole });
}
",
        yaml: "
resources:
  whole: {type: 'random:RandomPet'} # only 1
  part: # only 1
    type: command:local:Command # only 1
    properties: {create: 'true', delete: exit 9} # only 1
    options: {deletedWith: '${whole}'} # only 1
",
        expect: Expect::Works(|seen| seen.did("part", &["delete"])),
    },
    Feature {
        id: "hide-diffs",
        title: "`hideDiffs`",
        python: "command.local.Command('hidden', create='true', environment={'A': f'NOT-SHOWN-{step}'}, opts=Options(hide_diffs=['environment']))",
        nodejs: "new command.local.Command('hidden', { create: 'true', environment: { A: `NOT-SHOWN-${step}` } }, { hideDiffs: ['environment'] });",
        yaml: "
resources:
  hidden:
    type: command:local:Command
    properties: {create: 'true', environment: {A: NOT-SHOWN-@STEP@}}
    options: {hideDiffs: [environment]}
",
        expect: Expect::Works(|seen| {
            seen.did("hidden", &["update"])?;
            ensure!(!seen.plan.contains("NOT-SHOWN"), "{}", seen.plan);
            Ok(())
        }),
    },
    Feature {
        id: "import",
        title: "`import` of what exists",
        python: "
s = random.RandomString('imported', length=3, opts=Options(import_='abc'))
out('result', s.result)
",
        nodejs: "
const s = new random.RandomString('imported', { length: 3 }, { import: 'abc' });
out('result', s.result);
",
        yaml: "
resources:
  imported:
    type: random:RandomString
    properties: {length: 3}
    options: {import: abc}
outputs:
  import-result: ${imported.result}
",
        expect: Expect::Works(|seen| {
            same(seen.output("result")?, &json!("abc"))?;
            seen.unchanged("imported")
        }),
    },
    Feature {
        id: "read",
        title: "`get`: reading what exists",
        python: "out('result', random.RandomString.get('read', 'xyz').result)",
        nodejs: "out('result', random.RandomString.get('read', 'xyz').result);",
        yaml: "
resources:
  read:
    type: random:RandomString
    get: {id: xyz}
outputs:
  read-result: ${read.result}
",
        expect: Expect::Works(|seen| {
            same(seen.output("result")?, &json!("xyz"))?;
            same(&seen.resource("read")?["external"], &json!(true))
        }),
    },
    Feature {
        id: "provider",
        title: "`provider`",
        python: "random.RandomPet('own', opts=Options(provider=random.Provider('explicit')))",
        nodejs: "new random.RandomPet('own', {}, { provider: new random.Provider('explicit') });",
        yaml: "
resources:
  explicit: {type: 'pulumi:providers:random'}
  own:
    type: random:RandomPet
    options: {provider: '${explicit}'}
",
        expect: Expect::Works(|seen| seen.provider("own", "::explicit::")),
    },
    Feature {
        id: "providers",
        title: "`providers` of a component",
        python: "Box('given', Options(providers=[random.Provider('for-box')]))",
        nodejs: "new Box('given', { providers: [new random.Provider('for-box')] });",
        yaml: "
resources:
  for-box: {type: 'pulumi:providers:random'}
  given:
    type: Box
    options: {providers: {random: '${for-box}'}}
",
        expect: Expect::Works(|seen| seen.provider("given-pet", "::for-box::")),
    },
    Feature {
        id: "version",
        title: "`version`",
        python: "random.RandomPet('pinned', opts=Options(version='4.0.1'))",
        nodejs: "new random.RandomPet('pinned', {}, { version: '4.0.1' });",
        yaml: "
resources:
  pinned:
    type: random:RandomPet
    options: {version: 4.0.1}
",
        expect: Expect::Works(|seen| seen.provider("pinned", "::default_4_0_1::")),
    },
    Feature {
        id: "transformations",
        title: "Transformations (those that the SDK does itself)",
        python: "
change = lambda a: pulumi.ResourceTransformationResult(dict(a.props, length=7), a.opts)
random.RandomString('transformed', length=3, opts=Options(transformations=[change]))
",
        nodejs: "
const change = (a) => ({ props: { ...a.props, length: 7 }, opts: a.opts });
new random.RandomString('transformed', { length: 3 }, { transformations: [change] });
",
        yaml: "",
        expect: Expect::Works(|seen| {
            same(&seen.resource("transformed")?["inputs"]["length"], &json!(7))
        }),
    },
];
