//! A value that must not be printed.

use std::fmt;

/// What is shown in place of a secret.
pub const REDACTED: &str = "[secret]";

/// Wraps a secret so that `Debug` and `Display` print [`REDACTED`].
///
/// The value is reached only through [`Secret::expose`], which is easy to search for.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. The caller must not log it or put it into an error.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// Takes the value out of its wrapper.
    pub fn into_exposed(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl<T> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}
