//! LG04xx: services.

codes! {
    SANDBOX_FAILED = "LG0401", "the sandbox of a service could not be built", "The kernel or a surrounding container refused a step. `lockgate doctor` tries the same steps one by one and names the cause and its remedy.";
    PROGRAM_FAILED = "LG0402", "the program of an image could not be started", "The sandbox was ready but the program named by ENTRYPOINT, CMD or `command` could not be executed: it is missing, not executable, for another processor, or its loader is not in the image.";
    IMAGE_UNUSABLE = "LG0403", "the image of a service cannot be used", "The image is not in the local store, or its root file system could not be laid out.";
    SPEC_REFUSED = "LG0404", "a service asks for something impossible", "The message names what was asked and why this platform cannot do it.";
    MACHINE_FAILED = "LG0405", "the machine failed while a service was handled", "A file, process or socket operation of the node failed; the cause names it.";
    NO_INSTANCE = "LG0406", "there is no such instance", "The instance was stopped, or belongs to another node.";
    DOCTOR_FINDING = "LG0407", "the machine limits what the local platform can do", "The message names what was tried; the hint is the remedy.";
}
