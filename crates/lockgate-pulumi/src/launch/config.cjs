// Loaded by Node.js before the SDK's own start file. Takes the config of the run from standard
// input, so that no secret stands in the environment that other processes see, and leaves it
// where the SDK looks for it.
"use strict";

// In colour, Node.js searches every line of a stack trace for folders of packages, and on a file
// directly in a scope, as those of the SDK seem to be, it does so until the memory for one text is
// used up: half a minute for an ordinary mistake. Nothing here is a terminal.
const util = require("util");
util.inspect = new Proxy(util.inspect, {
    apply: (inspect, self, [value, options, ...rest]) => {
        const plain = value instanceof Error && options?.colors ? { ...options, colors: false } : options;
        return Reflect.apply(inspect, self, [value, plain, ...rest]);
    },
});

// Child processes of Node.js start with the same options; they inherit what was left here.
if (process.env.PULUMI_CONFIG === undefined) {
    const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
    const config = {};
    for (const [key, value] of Object.entries(given.config)) {
        // The form with `config` in the middle is what the Node.js SDK reads.
        const colon = key.indexOf(":");
        config[`${key.slice(0, colon)}:config:${key.slice(colon + 1)}`] = value;
    }
    process.env.PULUMI_CONFIG = JSON.stringify(config);
    process.env.PULUMI_CONFIG_SECRET_KEYS = JSON.stringify(given.secretKeys);
}
