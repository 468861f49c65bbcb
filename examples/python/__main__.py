"""A greeting that is written to a file by a command, and removed with the stack."""

import pulumi
import pulumi_command as command
import pulumi_random as random


class Greeting(pulumi.ComponentResource):
    """A file with a greeting for a pet that has a random name."""

    def __init__(self, name, words, opts=None):
        super().__init__("example:index:Greeting", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.pet = random.RandomPet("pet", length=2, opts=child)
        self.text = pulumi.Output.format("{0}, {1}", words, self.pet.id)
        self.file = command.local.Command(
            "file",
            create="printf '%s' \"$TEXT\" > greeting.txt && cat greeting.txt",
            delete="rm -f greeting.txt",
            environment={"TEXT": self.text},
            opts=child,
        )
        self.register_outputs({"text": self.text})


config = pulumi.Config()
greeting = Greeting("greeting", config.require("greeting"))
password = random.RandomPassword("password", length=20, special=False)

pulumi.export("text", greeting.text)
pulumi.export("written", greeting.file.stdout)
pulumi.export("password", password.result)
pulumi.export("token", config.require_secret("token").apply(lambda token: token.upper()))
