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
}
