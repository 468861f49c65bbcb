//! LG01xx: files and settings.

codes! {
    FILE_UNREADABLE = "LG0101", "a file cannot be read", "The file named in the message is missing or not readable.";
    USAGE = "LG0190", "the command was used in a way that cannot work", "The message says what was found and the hint what to do. Nothing was touched.";
    TOML_SYNTAX = "LG0102", "the file is not valid TOML", "The TOML parser stopped at the marked place.";
    BAD_SETTING = "LG0103", "a setting has a wrong value", "The message says what the setting takes. The node does not start on half of its settings.";
    UNKNOWN_SETTING = "LG0104", "unknown setting", "The setting is not known, so it would have no effect.";
    BAD_LOCK = "LG0105", "the lock file cannot be used", "`lockgate.lock` is written by Lockgate; restore it from version control, or write it anew with `lockgate pin --update`.";
}
