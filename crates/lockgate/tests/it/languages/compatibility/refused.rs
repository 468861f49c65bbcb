//! What this version does not do. It says so before anything is changed.

use super::{Expect, Feature};

pub(super) const FEATURES: &[Feature] = &[
    Feature {
        id: "transforms",
        title: "Transforms of a resource",
        python: "random.RandomPet('r', opts=Options(transforms=[lambda args: None]))",
        nodejs: "new random.RandomPet('r', {}, { transforms: [() => undefined] });",
        yaml: "",
        expect: Expect::Refused("transforms, which"),
    },
    Feature {
        id: "stack-transforms",
        title: "Transforms of the stack",
        python: "
pulumi.runtime.register_resource_transform(lambda args: None)
random.RandomPet('r')
",
        nodejs: "
pulumi.runtime.registerResourceTransform(() => undefined);
new random.RandomPet('r');
",
        yaml: "",
        expect: Expect::Refused("transforms, which"),
    },
    Feature {
        id: "invoke-transforms",
        title: "Transforms of function calls",
        python: "
pulumi.runtime.register_invoke_transform(lambda args: None)
random.RandomPet('r')
",
        nodejs: "
pulumi.runtime.registerInvokeTransform(() => undefined);
new random.RandomPet('r');
",
        yaml: "",
        expect: Expect::Refused("transforms, which"),
    },
    Feature {
        id: "hooks",
        title: "Resource hooks",
        python: "
hook = pulumi.ResourceHook('hook', lambda args: None)
random.RandomPet('r', opts=Options(hooks=pulumi.ResourceHookBinding(after_create=[hook])))
",
        nodejs: "
const hook = new pulumi.ResourceHook('hook', () => undefined);
new random.RandomPet('r', {}, { hooks: { afterCreate: [hook] } });
",
        yaml: "",
        expect: Expect::Refused("hooks, which"),
    },
    Feature {
        id: "error-hooks",
        title: "Error hooks",
        python: "
hook = pulumi.ErrorHook('hook', lambda args: True)
random.RandomPet('r', opts=Options(hooks=pulumi.ResourceHookBinding(on_error=[hook])))
",
        nodejs: "
const hook = new pulumi.ErrorHook('hook', () => true);
new random.RandomPet('r', {}, { hooks: { onError: [hook] } });
",
        yaml: "",
        expect: Expect::Refused("hooks, which"),
    },
    Feature {
        id: "dynamic",
        title: "Dynamic providers",
        python: "
import pulumi.dynamic
class Maker(pulumi.dynamic.ResourceProvider):
    def create(self, props):
        return pulumi.dynamic.CreateResult('id', props)
class Made(pulumi.dynamic.Resource):
    def __init__(self, name):
        super().__init__(Maker(), name, {'a': 1})
Made('r')
",
        nodejs: "
class Made extends pulumi.dynamic.Resource {
    constructor(name) { super({ create: async (inputs) => ({ id: 'id', outs: inputs }) }, name, { a: 1 }); }
}
new Made('r');
",
        yaml: "",
        expect: Expect::Refused("dynamic providers, which"),
    },
    Feature {
        id: "remote",
        title: "Components of packages in another language",
        python: "pulumi.ComponentResource('a:index:Remote', 'r', {}, None, True)",
        nodejs: "new pulumi.ComponentResource('a:index:Remote', 'r', {}, {}, true);",
        yaml: "",
        expect: Expect::Refused("in another language, which"),
    },
    Feature {
        id: "call",
        title: "Methods of such components",
        python: "out('called', pulumi.runtime.call('a:index:Remote/ask', {}))",
        nodejs: "out('called', pulumi.runtime.call('a:index:Remote/ask', {}));",
        yaml: "",
        expect: Expect::Refused("methods of components"),
    },
    Feature {
        id: "plugin",
        title: "Packages that need a plugin",
        python: "pulumi.CustomResource('aws:s3/bucket:Bucket', 'r', {})",
        nodejs: "new pulumi.CustomResource('aws:s3/bucket:Bucket', 'r', {});",
        yaml: "
resources:
  r: {type: 'aws:s3/bucket:Bucket'}
",
        expect: Expect::Refused("`aws`"),
    },
];
