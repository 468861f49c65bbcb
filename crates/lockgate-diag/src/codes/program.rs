//! LG02xx: programs and the engine.

codes! {
    YAML_SYNTAX = "LG0201", "the file is not valid YAML", "The YAML parser stopped at the marked place. Programs are plain YAML 1.2: spaces indent, and a reference inside `[ ]` or `{ }` must be quoted.";
    YAML_UNSUPPORTED = "LG0202", "a YAML feature that programs do not use", "Aliases, merge keys, keys that are not strings and further documents are refused, because they would silently mean something else to other readers of the file.";
    DUPLICATE_KEY = "LG0203", "a key is set twice", "One of the two values would be lost. Remove one.";
    WRONG_KIND = "LG0204", "a value has the wrong kind", "The field takes another kind of value. Numbers that are meant as text need quotes.";
    UNKNOWN_FIELD = "LG0205", "unknown field", "The field is not known at this place, so it would have no effect.";
    FIELD_CASE = "LG0206", "a field is spelled with another case", "Fields match without regard to case; write the documented spelling.";
    BAD_REFERENCE = "LG0207", "a reference is malformed", "References look like `${name.property[0][\"key\"]}`; `$${` is a literal `${`.";
    UNKNOWN_NAME = "LG0208", "nothing has this name", "A reference names a resource, variable, config value or property that does not exist.";
    NAME_CLASH = "LG0209", "two things have one name", "Config values, variables and resources share one name space.";
    DEPENDENCY_CYCLE = "LG0210", "dependency cycle", "Each member needs another one first, so none can start. Remove one of the marked references.";
    UNKNOWN_FUNCTION = "LG0211", "unknown function", "No built-in function has this name.";
    MISSING_FIELD = "LG0212", "a required field is missing", "Add the field.";
    UNKNOWN_PROPERTY = "LG0213", "the property is not in the schema", "The resource type has no such property; it would reach the provider without effect.";
    CONFIG_VALUE = "LG0214", "a config value is missing or of the wrong type", "Set the value with `lockgate config set`, or give the entry a default of the declared type.";
    NUMBER_PRECISION = "LG0215", "a number loses digits", "Numbers are 64-bit floats; write the value in quotes to keep every digit.";
    DEPRECATED = "LG0216", "deprecated form", "The form still works; the hint names the current one.";
    UNKNOWN_TYPE = "LG0217", "unknown resource type", "No package has a resource of this type.";
    EVALUATION = "LG0218", "an expression has no value", "The expression at the marked place could not be evaluated; what depends on it was left out of the run.";
    BROKEN_STATE = "LG0240", "the state breaks its own rules", "An entry refers to something that is missing or comes later, or two live entries share a URN. The run touched nothing. Restore an earlier state from the history of the stack.";
    DUPLICATE_URN = "LG0241", "two resources have one URN", "Type, name and parents together name a resource; rename one of the two.";
    UNKNOWN_PARENT = "LG0242", "a parent or dependency was not registered in this run", "The program must register a resource before another one can refer to it.";
    ALIAS_CONFLICT = "LG0243", "two resources claim one earlier identity", "Only one resource can continue an entry of the state; remove the alias from the other.";
    CHECK_FAILED = "LG0244", "a provider refused the properties of a resource", "The provider names the property and what it expects.";
    STEP_FAILED = "LG0245", "a step failed", "The provider refused or could not carry out the operation. Everything done before is in the state; correct the cause and run again.";
    OUTCOME_UNKNOWN = "LG0246", "the outcome of a step is unknown", "The answer of the provider was lost. The operation stays pending in the state; the next run repeats it with the same key, so nothing is made twice.";
    PROTECTED = "LG0247", "a protected resource would be deleted", "Remove `protect` from the resource and run `lockgate up`, then delete it.";
    OUTSIDE_PLAN = "LG0248", "a step is not part of the plan that was shown", "The world or the program changed between preview and update. Preview again.";
    CHANGES_FOUND = "LG0249", "changes were found where none were expected", "The run was asked to fail on any change.";
    DELETE_GUARD = "LG0250", "the run would delete too much of the stack", "A mistake in a program can make everything look unwanted. Look at the listed deletes; if they are meant, allow them with the flag.";
    UNKNOWN_TARGET = "LG0251", "no resource matches a target", "Targets are URNs; `*` matches within a part and `**` anything.";
    TARGET_DEPENDENCY = "LG0252", "a target needs a resource that is not a target", "The resource it depends on does not exist yet, or depends on something that is to be deleted. Add it to the targets.";
    PROVIDER_MISSING = "LG0253", "a provider cannot be used", "The package is unknown, its settings were refused, or the reference names no provider of this stack.";
    UNKNOWN_VALUE = "LG0254", "a value is still unknown during an update", "Unknown values belong to previews. This is a fault of the program's front end or of a provider.";
    READ_FAILED = "LG0255", "a resource could not be read", "The id may be wrong, or the resource is gone.";
    PENDING_OPERATION = "LG0256", "an operation of an earlier run has an unknown outcome", "The run before this one ended without hearing from the provider. The next update repeats the operation with the same key.";
    JOURNAL_FAILED = "LG0257", "the journal cannot be written", "No further step starts, because nothing could be remembered of it. Check the disk or the state store, then run again.";
    PROGRAM_FAILED = "LG0258", "the program failed", "The program ended with an error. Nothing is deleted by such a run.";
    BAD_OPTION = "LG0259", "a resource option is malformed", "The message names the option and the form it takes.";
    INVOKE_FAILED = "LG0260", "a function call failed", "The package refused the arguments or could not answer.";
    INIT_FAILED = "LG0261", "a resource exists but is not in order", "It was created or changed, but did not become ready. The state keeps it; the next update tries again.";
    TOOLCHAIN_MISSING = "LG0262", "the language of the program is not ready", "The interpreter, its virtual environment or the packages of the program are missing. `lockgate install` makes the environment and installs what `requirements.txt` or `package.json` lists.";
    PROGRAM_INCOMPLETE = "LG0263", "the program may be incomplete", "The program ended, but a request of it was cut off, refused, or came too late, or it left without waiting for its resources. What is missing in such a run is not proof that it is unwanted, so nothing is deleted. Correct the cause and run again.";
    ENGINE_BUG = "LG0290", "a fault in Lockgate", "Something that cannot happen did. Please report it with the message.";
    EXPECTED_NO_CHANGES = "LG0291", "changes where none were expected", "The run was told to expect no changes and found some; the plan above lists them. Nothing was touched.";
}
