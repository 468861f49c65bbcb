//! LG01xx: files and settings.

codes! {
    FILE_UNREADABLE = "LG0101", "a file cannot be read", "The file named in the message is missing or not readable.";
}
