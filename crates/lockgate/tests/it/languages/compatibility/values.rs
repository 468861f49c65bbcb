//! What programs say and read: names, config, outputs, functions, other stacks.

use super::{Expect, Feature, Seen, same};
use anyhow::{Result, ensure};
use serde_json::json;

pub(super) const FEATURES: &[Feature] = &[
    Feature {
        id: "names",
        title: "Project, stack and organization name",
        python: "out('all', [pulumi.get_project(), pulumi.get_stack(), pulumi.get_organization()])",
        nodejs: "out('all', [pulumi.getProject(), pulumi.getStack(), pulumi.getOrganization()]);",
        yaml: "
outputs:
  names-all: ['${pulumi.project}', '${pulumi.stack}', '${pulumi.organization}']
",
        expect: Expect::Works(|seen| same(seen.output("all")?, &json!(["x", "dev", "organization"]))),
    },
    Feature {
        id: "config",
        title: "Config: text, numbers, objects",
        python: "
c = pulumi.Config()
out('all', [c.require('text'), c.require_int('count'), c.require_object('shape')['deep'][1]])
",
        nodejs: "
const c = new pulumi.Config();
out('all', [c.require('text'), c.requireNumber('count'), c.requireObject('shape').deep[1]]);
",
        yaml: "
outputs:
  config-all: ['${text}', '${count}', '${shape.deep[1]}']
",
        expect: Expect::Works(|seen| same(seen.output("all")?, &json!(["é", 3, 2]))),
    },
    Feature {
        id: "config-secret",
        title: "Secret config stays secret",
        python: "
token = pulumi.Config().require_secret('token')
out('token', token)
out('size', token.apply(len))
",
        nodejs: "
const token = new pulumi.Config().requireSecret('token');
out('token', token);
out('size', token.apply((t) => t.length));
",
        yaml: "
outputs:
  config-secret-token: ${token}
  config-secret-size: {'fn::length': '${token}'}
",
        expect: Expect::Works(|seen| {
            seen.secret("token", &json!("CANARY-1"))?;
            seen.secret("size", &json!(8))
        }),
    },
    Feature {
        id: "outputs",
        title: "Outputs: values of resources, nested",
        python: "
s = random.RandomString('outputs', length=4)
out('all', {'size': s.result.apply(len), 'list': [s.length, True]})
out('secret', pulumi.Output.secret({'of': s.length}))
",
        nodejs: "
const s = new random.RandomString('outputs', { length: 4 });
out('all', { size: s.result.apply((r) => r.length), list: [s.length, true] });
out('secret', pulumi.secret({ of: s.length }));
",
        yaml: "
resources:
  outputs:
    type: random:RandomString
    properties: {length: 4}
outputs:
  outputs-all:
    size: {'fn::length': '${outputs.result}'}
    list: ['${outputs.length}', true]
  outputs-secret: {'fn::secret': {of: '${outputs.length}'}}
",
        expect: Expect::Works(|seen| {
            same(seen.output("all")?, &json!({"size": 4, "list": [4, true]}))?;
            seen.secret("secret", &json!({"of": 4}))
        }),
    },
    Feature {
        id: "combine",
        title: "Outputs combined into text and JSON",
        python: "
s = random.RandomString('combine', length=4)
out('text', pulumi.Output.concat('a-', s.length.apply(str)))
out('both', pulumi.Output.all(s.length, s.special).apply(lambda p: f'{p[0]} {p[1]}'.lower()))
out('json', pulumi.Output.json_dumps({'n': s.length}))
",
        nodejs: "
const s = new random.RandomString('combine', { length: 4 });
out('text', pulumi.interpolate`a-${s.length}`);
out('both', pulumi.all([s.length, s.special]).apply(([a, b]) => `${a} ${b}`));
out('json', pulumi.jsonStringify({ n: s.length }));
",
        yaml: "
resources:
  combine:
    type: random:RandomString
    properties: {length: 4}
outputs:
  combine-text: a-${combine.length}
  combine-both: ${combine.length} ${combine.special}
  combine-json: {'fn::toJSON': {n: '${combine.length}'}}
",
        expect: Expect::Works(|seen| {
            same(seen.output("text")?, &json!("a-4"))?;
            same(seen.output("both")?, &json!("4 true"))?;
            let text = seen.output("json")?.as_str().unwrap_or_default().replace(' ', "");
            same(&text.into(), &json!("{\"n\":4}"))
        }),
    },
    Feature {
        id: "values",
        title: "Properties of every kind",
        python: "command.local.Command('values', create='true', triggers=[1.5, True, 'é', {'a': [1, {'b': 2}]}])",
        nodejs: "new command.local.Command('values', { create: 'true', triggers: [1.5, true, 'é', { a: [1, { b: 2 }] }] });",
        yaml: "
resources:
  values:
    type: command:local:Command
    properties:
      create: 'true'
      triggers: [1.5, true, 'é', {a: [1, {b: 2}]}]
",
        expect: Expect::Works(|seen| {
            let expected = json!([1.5, true, "é", {"a": [1, {"b": 2}]}]);
            same(&seen.resource("values")?["outputs"]["triggers"], &expected)
        }),
    },
    Feature {
        id: "assets",
        title: "Assets and archives",
        python: "command.local.Command('assets', create='true', triggers=[pulumi.FileAsset('data.txt'), pulumi.StringAsset('hi'), pulumi.FileArchive('site'), pulumi.AssetArchive({'a': pulumi.StringAsset('hi')})])",
        nodejs: "new command.local.Command('assets', { create: 'true', triggers: [new pulumi.asset.FileAsset('data.txt'), new pulumi.asset.StringAsset('hi'), new pulumi.asset.FileArchive('site'), new pulumi.asset.AssetArchive({ a: new pulumi.asset.StringAsset('hi') })] });",
        yaml: "
resources:
  assets:
    type: command:local:Command
    properties:
      create: 'true'
      triggers:
        - {'fn::fileAsset': data.txt}
        - {'fn::stringAsset': hi}
        - {'fn::fileArchive': site}
        - {'fn::assetArchive': {a: {'fn::stringAsset': hi}}}
",
        expect: Expect::Works(|seen| {
            let triggers = &seen.resource("assets")?["inputs"]["triggers"];
            for index in 0..4 {
                ensure!(triggers[index]["hash"].is_string(), "no hash: {triggers}");
            }
            Ok(())
        }),
    },
    Feature {
        id: "resource-property",
        title: "A resource as a property",
        python: "command.local.Command('holder', create='true', triggers=[random.RandomPet('held')])",
        nodejs: "new command.local.Command('holder', { create: 'true', triggers: [new random.RandomPet('held')] });",
        yaml: "",
        expect: Expect::Works(|seen| {
            let urn = &seen.resource("held")?["urn"];
            let holder = seen.resource("holder")?;
            same(&holder["inputs"]["triggers"][0]["urn"], urn)?;
            same(&holder["dependencies"][0], urn)
        }),
    },
    Feature {
        id: "invoke",
        title: "Function calls",
        python: "
out('plain', command.local.run(command='echo 6*7').stdout)
pet = random.RandomPet('invoke')
later = command.local.run_output(command=pulumi.Output.concat('echo ', pet.id))
out('later', later.stdout)
",
        nodejs: "
out('plain', command.local.run({ command: 'echo 6*7' }).then((r) => r.stdout));
const pet = new random.RandomPet('invoke');
const later = command.local.runOutput({ command: pulumi.interpolate`echo ${pet.id}` });
out('later', later.stdout);
",
        yaml: "
variables:
  said: {'fn::command:local:run': {command: 'echo 6*7'}}
  later: {'fn::command:local:run': {command: 'echo ${invoke.id}'}}
resources:
  invoke: {type: 'random:RandomPet'}
outputs:
  invoke-plain: ${said.stdout}
  invoke-later: ${later.stdout}
",
        expect: Expect::Works(|seen| {
            same(seen.output("plain")?, &json!("6*7"))?;
            same(seen.output("later")?, &seen.resource("invoke")?["id"])
        }),
    },
    Feature {
        id: "stack-reference",
        title: "StackReference to another project",
        python: "
ref = pulumi.StackReference('organization/other/prod')
out('host', ref.get_output('host'))
out('key', ref.require_output('key'))
out('short', pulumi.StackReference('other/prod').get_output('host'))
",
        nodejs: "
const ref = new pulumi.StackReference('organization/other/prod');
out('host', ref.getOutput('host'));
out('key', ref.requireOutput('key'));
out('short', new pulumi.StackReference('other/prod').getOutput('host'));
",
        yaml: "
resources:
  by-name: {type: 'pulumi:pulumi:StackReference', name: organization/other/prod}
  by-property:
    type: pulumi:pulumi:StackReference
    properties: {name: other/prod}
outputs:
  stack-reference-host: ${by-name.outputs.host}
  stack-reference-key: ${by-name.outputs.key}
  stack-reference-short: ${by-property.outputs.host}
",
        expect: Expect::Works(|seen| {
            same(seen.output("host")?, &json!("h.example"))?;
            same(seen.output("short")?, &json!("h.example"))?;
            seen.secret("key", &json!("CANARY-2"))?;
            same(&seen.resource("organization/other/prod")?["external"], &json!(true))
        }),
    },
    Feature {
        id: "stack-reference-function",
        title: "`fn::stackReference`",
        python: "",
        nodejs: "",
        yaml: "
outputs:
  stack-reference-function-host: {'fn::stackReference': [organization/other/prod, host]}
  stack-reference-function-key: {'fn::stackReference': [organization/other/prod, key]}
",
        expect: Expect::Works(|seen| {
            same(seen.output("host")?, &json!("h.example"))?;
            seen.secret("key", &json!("CANARY-2"))
        }),
    },
    Feature {
        id: "get-resource",
        title: "`pulumi:pulumi:getResource`",
        python: "
pet = random.RandomPet('looked-up')
found = pet.urn.apply(lambda urn: pulumi.runtime.invoke('pulumi:pulumi:getResource', {'urn': urn}).value)
out('length', found.apply(lambda f: f['state']['length']))
",
        nodejs: "
const pet = new random.RandomPet('looked-up');
const found = pet.urn.apply((urn) => pulumi.runtime.invoke('pulumi:pulumi:getResource', { urn }));
out('length', found.apply((f) => f.state.length));
",
        yaml: "
variables:
  found:
    fn::invoke:
      function: pulumi:pulumi:getResource
      arguments: {urn: '${looked-up.urn}'}
resources:
  looked-up: {type: 'random:RandomPet'}
outputs:
  get-resource-length: ${found.state.length}
",
        expect: Expect::Works(|seen| same(seen.output("length")?, &json!(2))),
    },
    Feature {
        id: "stash",
        title: "Stash: a value that is kept",
        python: "
stash = pulumi.Stash('stash', input=step)
out('all', [stash.input, stash.output])
",
        nodejs: "
const stash = new pulumi.Stash('stash', { input: step });
out('all', [stash.input, stash.output]);
",
        yaml: "
resources:
  stash:
    type: pulumi:index:Stash
    properties: {input: @STEP@}
outputs:
  stash-all: ['${stash.input}', '${stash.output}']
",
        expect: Expect::Works(|seen| same(seen.output("all")?, &json!([2, 1]))),
    },
    Feature {
        id: "log",
        title: "Log messages, also about a resource",
        python: "
pulumi.log.info('said in general')
pulumi.log.warn('said of it', random.RandomPet('logged'))
",
        nodejs: "
pulumi.log.info('said in general');
pulumi.log.warn('said of it', new random.RandomPet('logged'));
",
        yaml: "",
        expect: Expect::Works(|seen| {
            for text in ["said in general", "said of it"] {
                ensure!(seen.told(text), "{text:?} was not told");
            }
            Ok(())
        }),
    },
];

impl Seen<'_> {
    /// An output that must be masked, and have this value once it is asked for.
    fn secret(&self, key: &str, value: &serde_json::Value) -> Result<()> {
        same(self.masked(key)?, &json!("[secret]"))?;
        same(self.output(key)?, value)
    }
}
