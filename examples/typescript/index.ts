// A greeting that is written to a file by a command, and removed with the stack.
import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

/** A file with a greeting for a pet that has a random name. */
class Greeting extends pulumi.ComponentResource {
    readonly text: pulumi.Output<string>;
    readonly file: command.local.Command;

    constructor(name: string, words: string, opts?: pulumi.ComponentResourceOptions) {
        super("example:index:Greeting", name, {}, opts);
        const pet = new random.RandomPet("pet", { length: 2 }, { parent: this });
        this.text = pulumi.interpolate`${words}, ${pet.id}`;
        this.file = new command.local.Command(
            "file",
            {
                create: `printf '%s' "$TEXT" > greeting.txt && cat greeting.txt`,
                delete: "rm -f greeting.txt",
                environment: { TEXT: this.text },
            },
            { parent: this },
        );
        this.registerOutputs({ text: this.text });
    }
}

const config = new pulumi.Config();
const greeting = new Greeting("greeting", config.require("greeting"));
const secret = new random.RandomPassword("password", { length: 20, special: false });

export const text = greeting.text;
export const written = greeting.file.stdout;
export const password = secret.result;
export const token = config.requireSecret("token").apply((value) => value.toUpperCase());
