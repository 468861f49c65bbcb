//! Five thousand registrations of one program under way at once: none is lost, none refused.
//!
//! The engine has one hand here, and the first resource keeps it busy until all others have been
//! asked for, so that they are under way together for certain.

use anyhow::{Result, ensure};
use lockgate_testkit::languages::Language;

use super::{managed, program};

const COUNT: usize = 5000;

/// Asks with the SDK's own client, without what its resource classes do around it: that takes
/// ten times as long and is no matter here.
const PYTHON: &str = "
import os, time, pulumi
from pulumi.runtime.proto import resource_pb2

monitor = pulumi.runtime.settings.get_monitor()

def ask(kind, name, inputs):
    request = resource_pb2.RegisterResourceRequest(type=kind, name=name, custom=True)
    request.object.update(inputs)
    return monitor.RegisterResource.future(request)

busy = 'touch started; while [ ! -e go ]; do sleep 0.02; done'
calls = [ask('command:local:Command', 'first', {'create': busy})]
while not pulumi.runtime.is_dry_run() and not os.path.exists('started'):
    time.sleep(0.01)
calls += [ask('random:index/randomString:RandomString', f's{i}', {'length': 8}) for i in range(COUNT)]
if not pulumi.runtime.is_dry_run():
    open('waiting', 'w').write(str(sum(not call.done() for call in calls)))
    open('go', 'w').close()
answers = {call.result().urn for call in calls}
assert len(answers) == COUNT + 1, len(answers)
";

const NODEJS: &str = "
const fs = require('fs');
const pulumi = require('@pulumi/pulumi');
const { RegisterResourceRequest } = require('@pulumi/pulumi/proto/resource_pb');
const { Struct } = require('google-protobuf/google/protobuf/struct_pb');

const monitor = pulumi.runtime.getMonitor();
let answered = 0;
const ask = (kind, name, inputs) => new Promise((resolve, reject) => {
    const request = new RegisterResourceRequest();
    request.setType(kind);
    request.setName(name);
    request.setCustom(true);
    request.setObject(Struct.fromJavaScript(inputs));
    monitor.registerResource(request, (error, answer) => {
        answered += 1;
        error ? reject(error) : resolve(answer.getUrn());
    });
});
const turn = () => new Promise((resolve) => setTimeout(resolve, 10));

const run = async () => {
    const busy = 'touch started; while [ ! -e go ]; do sleep 0.02; done';
    const calls = [ask('command:local:Command', 'first', { create: busy })];
    while (!pulumi.runtime.isDryRun() && !fs.existsSync('started')) await turn();
    for (let i = 0; i < COUNT; i++) {
        calls.push(ask('random:index/randomString:RandomString', `s${i}`, { length: 8 }));
    }
    if (!pulumi.runtime.isDryRun()) {
        await turn();
        fs.writeFileSync('waiting', String(calls.length - answered));
        fs.writeFileSync('go', '');
    }
    const urns = new Set(await Promise.all(calls));
    if (urns.size !== COUNT + 1) throw new Error(`${urns.size} answers`);
    return {};
};
module.exports = run();
";

fn check(language: Language, text: &str) -> Result<()> {
    let text = text.replace("COUNT", &COUNT.to_string());
    let world = program(language, &text)?;
    world.run(&["up", "--yes", "--parallel", "1"])?.expect(0)?;
    let waiting = fs_err::read_to_string(world.project().join("waiting"))?;
    ensure!(
        waiting == (COUNT + 1).to_string(),
        "{waiting} were under way"
    );
    assert_eq!(managed(&world)?.len(), COUNT + 1);
    Ok(())
}

#[test]
fn five_thousand_registrations_of_a_python_program_all_arrive() -> Result<()> {
    check(Language::Python, PYTHON)
}

#[test]
fn five_thousand_registrations_of_a_nodejs_program_all_arrive() -> Result<()> {
    check(Language::Nodejs, NODEJS)
}
