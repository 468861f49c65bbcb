//! LG03xx: images and gates.

codes! {
    DOCKERFILE_SYNTAX = "LG0301", "the Dockerfile is malformed", "The marked line cannot be read as a Dockerfile.";
    UNKNOWN_INSTRUCTION = "LG0302", "unknown instruction", "The line starts with no instruction of a Dockerfile.";
    INSTRUCTION_ARGUMENTS = "LG0303", "wrong arguments of an instruction", "The instruction exists, but its arguments or flags are not what it takes.";
    UNKNOWN_STAGE = "LG0304", "no such build stage", "`FROM`, `COPY --from` or the build's target names a stage that the Dockerfile does not have above this line.";
    NEEDS_ENGINE = "LG0305", "the stage needs a build engine", "Stages with `RUN` execute programs, which the built-in assembler does not do. Start a Docker Engine, move the step out of the image build (copy its result instead), or reference an image that was built elsewhere.";
    COPY_SOURCE = "LG0306", "a source of COPY or ADD is missing or unusable", "The named path is not in the build context, is excluded by the ignore file, or is no file, folder or link.";
    CONTEXT_UNREADABLE = "LG0307", "the build context cannot be read", "Lockgate builds only from what it can read completely. An unreadable file is an error, never an empty one.";
    IGNORE_PATTERN = "LG0308", "a malformed pattern in the ignore file", "A pattern of `.dockerignore` cannot be understood, so nothing can be said about what it excludes.";
    EXPANSION = "LG0309", "a variable cannot be expanded", "The marked text has a malformed `${…}`, or one that demands a value which is not set.";
    UNUSED_BUILD_ARG = "LG0310", "a build argument is not declared", "The build passes an argument that no `ARG` of the reachable stages declares, so it has no effect.";
    SECRET_IN_IMAGE = "LG0311", "a secret would be stored in the image", "The instruction writes the value of a secret build argument into the image, where everyone who can pull it can read it.";
    BASE_IMAGE = "LG0313", "a base image cannot be resolved", "The image named by `FROM` or `--from` was not found or could not be fetched.";
    FILE_CHANGED = "LG0314", "a file changed during the build", "The file was written while it was read, three times in a row. Build again when nothing writes to the context.";
    PATH_CONFLICT = "LG0316", "a file and a folder have one path", "The instruction would replace a folder by a file, or the other way round.";
    GIT_IN_CONTEXT = "LG0317", "the version control folder is copied", "`COPY` of the whole context includes `.git`, whose content changes with each commit, and so does the image. Add `.git` to `.dockerignore`.";
    ENGINE_BUILD = "LG0318", "the Docker Engine did not build the image", "Stages with RUN are built by a Docker Engine. The message repeats what it said: a step that failed names its command, followed by the last lines that it printed.";
    SECRET_FOUND = "LG0320", "a secret is in the image", "A layer, an environment variable, a label or the history has text that looks like a credential. Deleting it in a later layer does not help: the earlier layer still ships. Build without it and change the credential.";
    IMAGE_SIZE = "LG0321", "the image is larger than its budget", "The compressed layers exceed the gate's size budget.";
    ROOT_USER = "LG0322", "the image runs as root", "The configuration has no numeric non-root user, so a platform cannot prove that the service runs without root.";
    NOT_BY_DIGEST = "LG0323", "the image is not referenced by digest", "A tag can move between the gate and the start of the service.";
    IGNORE_EXPIRED = "LG0324", "an ignore has expired or is incomplete", "Each ignored finding needs a reason and an expiry date; after it the finding counts again.";
    GATE_UNEVALUATED = "LG0325", "a check could not be evaluated", "Silence is not safety: a gate whose check could not run is a failed gate.";
    REGISTRY = "LG0330", "a registry did not do what it was asked", "The causes say what was asked and what the registry answered. Without credentials many registries answer as if the image did not exist: log in with `docker login`, whose credentials Lockgate reads.";
    STORE = "LG0390", "the image store cannot be used", "Images are kept under LOCKGATE_HOME, in `images`. The causes name the file and what went wrong.";
}
