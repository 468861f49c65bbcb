//! LG075x and LG076x: the state of stacks.

codes! {
    STATE_IO = "LG0751", "the state folder cannot be read or written", "The disk refused the operation named in the message; the cause says why. Nothing was half written: files are replaced whole.";
    STACK_NAME = "LG0752", "no stack can have this name", "Projects and stacks are named by letters, digits, `_`, `.` and `-`, at most 100 of them.";
    NO_STACK = "LG0753", "there is no such stack", "List the stacks with `lockgate stack ls`, or make the stack with `lockgate stack init`.";
    STACK_EXISTS = "LG0754", "the stack exists already", "Select it with `lockgate stack select`, or choose another name.";
    STACK_NOT_EMPTY = "LG0755", "the stack still has resources", "Removing the stack would forget resources that go on existing. Run `lockgate destroy` first, or remove it with `--force`.";
    STACK_HELD = "LG0756", "somebody else works on the stack", "One run at a time changes a stack. Wait for the holder named in the message; a holder that died is replaced at once on its machine and within 30 seconds from another one. `lockgate cancel` takes the lease away.";
    LEASE_LOST = "LG0757", "the lease of the stack was lost", "This run was stopped for longer than its lease, or somebody ran `lockgate cancel`, and another run took over. Nothing was written after that. Run the command again.";
    STATE_DAMAGED = "LG0758", "a state file is damaged", "The file does not hold what was written to it: a bad disk, an edit by hand, or an older copy put back. `lockgate stack repair` uses the backup and the readable part of the journal, and keeps the damaged file beside. Edit a state with `lockgate stack export` and `import`.";
    STATE_NEWER = "LG0759", "the state was written by a newer version", "An older version would lose what it does not know, so it does not touch the file.";
    DEPLOYMENT = "LG0760", "the deployment JSON is malformed", "The message names the resource and the key. Versions 1 to 4 of the format are read.";
    INTEGRITY = "LG0761", "the state contradicts itself", "Each resource must come after what it refers to, and may be live only once. A state that breaks these rules is never written.";
    SECRETS = "LG0762", "the secrets of the stack cannot be read", "The passphrase or key is missing or is another one than the stack was created with, or a stored secret was altered.";
}
