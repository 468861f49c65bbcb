//! Patterns of COPY sources: Go's `path.Match` on one path component at a time.

/// Whether a component has characters with a meaning.
pub(crate) fn has_meta(component: &[u8]) -> bool {
    component.iter().any(|b| b"*?[\\".contains(b))
}

/// A pattern that cannot be understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadPattern;

/// Whether `name` matches `pattern`: `*`, `?`, `[…]`, `[^…]` and `\` as in Go; no `**`.
pub(crate) fn matches(pattern: &[u8], name: &[u8]) -> Result<bool, BadPattern> {
    let pattern = std::str::from_utf8(pattern).map_err(|_| BadPattern)?;
    let tokens = parse(pattern)?;
    // Invalid UTF-8 counts as one replacement character per byte, as in Go.
    let text: Vec<char> = String::from_utf8_lossy(name).chars().collect();
    Ok(run(&tokens, &text))
}

enum Token {
    Star,
    Any,
    Char(char),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

fn parse(pattern: &str) -> Result<Vec<Token>, BadPattern> {
    let mut tokens = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::Star,
            '?' => Token::Any,
            '\\' => Token::Char(chars.next().ok_or(BadPattern)?),
            '[' => {
                let negated = chars.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                loop {
                    let low = match chars.next().ok_or(BadPattern)? {
                        ']' if !ranges.is_empty() => break,
                        '-' | ']' => return Err(BadPattern),
                        '\\' => chars.next().ok_or(BadPattern)?,
                        c => c,
                    };
                    let high = if chars.next_if_eq(&'-').is_some() {
                        match chars.next().ok_or(BadPattern)? {
                            '-' | ']' => return Err(BadPattern),
                            '\\' => chars.next().ok_or(BadPattern)?,
                            c => c,
                        }
                    } else {
                        low
                    };
                    ranges.push((low, high));
                }
                Token::Class { negated, ranges }
            }
            c => Token::Char(c),
        });
    }
    Ok(tokens)
}

fn run(tokens: &[Token], text: &[char]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        let fits = match tokens.get(p) {
            Some(Token::Star) => {
                star = Some((p, t));
                p += 1;
                continue;
            }
            Some(Token::Any) => true,
            Some(Token::Char(c)) => *c == text[t],
            Some(Token::Class { negated, ranges }) => {
                ranges
                    .iter()
                    .any(|(low, high)| (*low..=*high).contains(&text[t]))
                    != *negated
            }
            None => false,
        };
        match (fits, star) {
            (true, _) => {
                p += 1;
                t += 1;
            }
            (false, Some((star_p, star_t))) => {
                p = star_p + 1;
                t = star_t + 1;
                star = Some((star_p, t));
            }
            (false, None) => return false,
        }
    }
    tokens[p..].iter().all(|token| matches!(token, Token::Star))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_match_as_in_go() {
        for (pattern, name, expected) in [
            ("abc", "abc", Ok(true)),
            ("*", "abc", Ok(true)),
            ("*c", "abc", Ok(true)),
            ("a*", "a", Ok(true)),
            ("a*b*c*d", "axbxcxdx", Ok(false)),
            ("a*b*c*d*", "axbxcxdx", Ok(true)),
            ("ab[c]", "abc", Ok(true)),
            ("ab[b-d]", "abc", Ok(true)),
            ("ab[^c]", "abc", Ok(false)),
            ("ab[!c]", "ab!", Ok(true)),
            ("a\\*b", "a*b", Ok(true)),
            ("a\\*b", "ab", Ok(false)),
            ("a?b", "aüb", Ok(true)),
            ("[\\]a]", "]", Ok(true)),
            ("[]a]", "]", Err(BadPattern)),
            ("[-]", "-", Err(BadPattern)),
            ("[a-b-c]", "a", Err(BadPattern)),
            ("[", "a", Err(BadPattern)),
            ("a\\", "a", Err(BadPattern)),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }
}
