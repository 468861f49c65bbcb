//! Variable expansion of a word, with quotes and escapes removed (BuildKit `shell.Lex`).

/// Values visible at an instruction.
pub(crate) trait Variables {
    /// The value of a variable, `None` when it is not set.
    fn find(&self, name: &str) -> Option<&str>;
}

/// A word that cannot be expanded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ExpandError(pub(crate) String);

/// Expands `text`; quotes vanish and escapes are resolved.
pub(crate) fn expand(
    text: &str,
    escape: char,
    variables: &dyn Variables,
) -> Result<String, ExpandError> {
    Expander {
        chars: text.chars().peekable(),
        escape,
        variables,
        raw: false,
        depth: 0,
    }
    .run(None)
}

/// Expands a heredoc body: variables only, quotes stay, `\$` is a dollar sign.
pub(crate) fn expand_body(
    text: &str,
    escape: char,
    variables: &dyn Variables,
) -> Result<String, ExpandError> {
    Expander {
        chars: text.chars().peekable(),
        escape,
        variables,
        raw: true,
        depth: 0,
    }
    .run(None)
}

/// Longest value: the kernel gives a program no longer text, and a few lines of `ENV a=$a$a` would
/// fill the memory.
const VALUE_BYTES_MAX: usize = 128 * 1024;
/// Longest body of a heredoc: it becomes a file, and files of this size are copied, not written
/// in place.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest value that is compared with a pattern, which takes a time that is no longer linear.
const MATCHED_BYTES_MAX: usize = 4 * 1024;
/// Deepest nesting of `${a:-${b:-…}}`.
const DEPTH_MAX: u32 = 32;

struct Expander<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    escape: char,
    variables: &'a dyn Variables,
    /// Quotes are ordinary characters.
    raw: bool,
    depth: u32,
}

impl Expander<'_> {
    /// Runs to `stop` (consumed) or to the end.
    fn run(&mut self, stop: Option<char>) -> Result<String, ExpandError> {
        let mut out = String::new();
        while let Some(c) = self.chars.next() {
            match c {
                c if Some(c) == stop => return Ok(out),
                '\'' if !self.raw => self.single_quoted(&mut out)?,
                '"' if !self.raw => self.double_quoted(&mut out)?,
                '$' => self.dollar(&mut out)?,
                c if c == self.escape => match self.chars.next() {
                    Some(next) => {
                        if self.raw && next != '$' && next != self.escape {
                            out.push(c);
                        }
                        out.push(next);
                    }
                    None => out.push(c),
                },
                c => out.push(c),
            }
        }
        match stop {
            Some(stop) => Err(ExpandError(format!("`{stop}` is missing"))),
            None => Ok(out),
        }
    }

    fn single_quoted(&mut self, out: &mut String) -> Result<(), ExpandError> {
        for c in self.chars.by_ref() {
            if c == '\'' {
                return Ok(());
            }
            out.push(c);
        }
        Err(ExpandError("a single quote is never closed".to_owned()))
    }

    fn double_quoted(&mut self, out: &mut String) -> Result<(), ExpandError> {
        while let Some(c) = self.chars.next() {
            match c {
                '"' => return Ok(()),
                '$' => self.dollar(out)?,
                c if c == self.escape => match self.chars.next() {
                    Some(next) => {
                        // Inside quotes only these three can be escaped.
                        if next != '"' && next != '$' && next != self.escape {
                            out.push(c);
                        }
                        out.push(next);
                    }
                    None => out.push(c),
                },
                c => out.push(c),
            }
        }
        Err(ExpandError("a double quote is never closed".to_owned()))
    }

    /// What the text after a `$` stands for. Only here a text grows past what was written.
    fn dollar(&mut self, out: &mut String) -> Result<(), ExpandError> {
        self.substitute(out)?;
        let max = if self.raw {
            BODY_BYTES_MAX
        } else {
            VALUE_BYTES_MAX
        };
        if out.len() > max {
            return Err(ExpandError(format!("the text is longer than {max} bytes")));
        }
        Ok(())
    }

    fn substitute(&mut self, out: &mut String) -> Result<(), ExpandError> {
        if self.chars.next_if_eq(&'{').is_none() {
            let name = self.name();
            if name.is_empty() {
                out.push('$');
            } else {
                out.push_str(self.variables.find(&name).unwrap_or(""));
            }
            return Ok(());
        }
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(ExpandError("expansions are nested too deep".to_owned()));
        }
        let name = self.name();
        if name.is_empty() {
            return Err(ExpandError("`${` is not followed by a name".to_owned()));
        }
        let value = self.variables.find(&name).map(str::to_owned);
        let result = self.modified(&name, value)?;
        self.depth -= 1;
        out.push_str(&result);
        Ok(())
    }

    /// What stands after the name in `${name…}`.
    fn modified(&mut self, name: &str, value: Option<String>) -> Result<String, ExpandError> {
        let missing = || ExpandError(format!("`${{{name}` is never closed"));
        let operator = self.chars.next().ok_or_else(missing)?;
        let present = value.as_deref().is_some_and(|v| !v.is_empty());
        match operator {
            '}' => Ok(value.unwrap_or_default()),
            ':' | '-' | '+' | '?' => {
                let (strict, operator) = match operator {
                    ':' => (true, self.chars.next().ok_or_else(missing)?),
                    other => (false, other),
                };
                let word = self.run(Some('}'))?;
                let is_set = if strict { present } else { value.is_some() };
                match operator {
                    '-' if is_set => Ok(value.unwrap_or_default()),
                    '-' => Ok(word),
                    '+' if is_set => Ok(word),
                    '+' => Ok(String::new()),
                    '?' if is_set => Ok(value.unwrap_or_default()),
                    '?' if word.is_empty() => {
                        Err(ExpandError(format!("variable `{name}` is not set")))
                    }
                    '?' => Err(ExpandError(format!("variable `{name}`: {word}"))),
                    other => Err(ExpandError(format!(
                        "unknown modifier `{other}` of `{name}`"
                    ))),
                }
            }
            '#' | '%' => {
                let greedy = self.chars.next_if_eq(&operator).is_some();
                let pattern: Vec<char> = self.pattern('}')?.chars().collect();
                Ok(trim(
                    &matched(name, value)?,
                    &pattern,
                    operator == '#',
                    greedy,
                ))
            }
            '/' => {
                let all = self.chars.next_if_eq(&'/').is_some();
                let pattern: Vec<char> = self.pattern('/')?.chars().collect();
                let replacement = self.run(Some('}'))?;
                let value = matched(name, value)?;
                // Every character may become the whole replacement.
                if value.len() * replacement.len() > BODY_BYTES_MAX {
                    return Err(ExpandError(format!(
                        "the replacement in `{name}` is too long"
                    )));
                }
                Ok(replace(&value, &pattern, &replacement, all))
            }
            other => Err(ExpandError(format!(
                "unknown modifier `{other}` of `{name}`"
            ))),
        }
    }

    /// A glob up to `stop`; escapes stay, for the matcher.
    fn pattern(&mut self, stop: char) -> Result<String, ExpandError> {
        let mut out = String::new();
        while let Some(c) = self.chars.next() {
            match c {
                c if c == stop => return Ok(out),
                '$' => self.dollar(&mut out)?,
                c if c == self.escape => {
                    out.push('\\');
                    out.extend(self.chars.next());
                }
                c => out.push(c),
            }
        }
        Err(ExpandError(format!("`{stop}` is missing")))
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        let mut first = true;
        while let Some(c) = self
            .chars
            .next_if(|c| c.is_ascii_alphanumeric() || *c == '_')
        {
            name.push(c);
            // `$1x` is the positional parameter 1, then x.
            if first && c.is_ascii_digit() {
                break;
            }
            first = false;
        }
        name
    }
}

/// A value that is short enough for a pattern.
fn matched(name: &str, value: Option<String>) -> Result<String, ExpandError> {
    let value = value.unwrap_or_default();
    if value.len() > MATCHED_BYTES_MAX {
        let words =
            format!("`{name}` is longer than {MATCHED_BYTES_MAX} bytes, too long for a pattern");
        return Err(ExpandError(words));
    }
    Ok(value)
}

/// Removes the shortest or longest match at the start or the end.
fn trim(value: &str, pattern: &[char], from_start: bool, greedy: bool) -> String {
    let chars: Vec<char> = value.chars().collect();
    let mut lengths: Vec<usize> = (0..=chars.len()).collect();
    if greedy {
        lengths.reverse();
    }
    for length in lengths {
        let (part, kept) = if from_start {
            (&chars[..length], &chars[length..])
        } else {
            (
                &chars[chars.len() - length..],
                &chars[..chars.len() - length],
            )
        };
        if glob(pattern, part) {
            return kept.iter().collect();
        }
    }
    value.to_owned()
}

fn replace(value: &str, pattern: &[char], replacement: &str, all: bool) -> String {
    let chars: Vec<char> = value.chars().collect();
    let (mut out, mut at) = (String::new(), 0);
    while at < chars.len() {
        let longest = (at + 1..=chars.len())
            .rev()
            .find(|end| glob(pattern, &chars[at..*end]));
        match longest {
            Some(end) => {
                out.push_str(replacement);
                at = end;
                if !all {
                    break;
                }
            }
            None => {
                out.push(chars[at]);
                at += 1;
            }
        }
    }
    out.extend(&chars[at..]);
    out
}

/// Whole match of `*`, `?` and escapes; linear in both texts but for the last `*`.
fn glob(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        let literal = match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
                continue;
            }
            Some('?') => Some((text[t], 1)),
            Some('\\') => pattern.get(p + 1).map(|c| (*c, 2)),
            Some(c) => Some((*c, 1)),
            None => None,
        };
        match (literal, star) {
            (Some((c, width)), _) if c == text[t] => {
                p += width;
                t += 1;
            }
            (_, Some((star_p, star_t))) => {
                p = star_p + 1;
                t = star_t + 1;
                star = Some((star_p, t));
            }
            _ => return false,
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}
