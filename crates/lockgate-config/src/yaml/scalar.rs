//! What a scalar is: the rules by which unmodified programs keep their meaning
//! (yaml guide, section 3). Case is exact, `yes` and `no` are text, a leading zero is octal.

use std::borrow::Cow;
use std::sync::Arc;

use granit_parser::Tag;
use lockgate_diag::codes::program::NUMBER_PRECISION;
use lockgate_diag::{Diagnostic, SourceFile, Span};

use super::Kind;

/// The kind of a scalar; `Err` says why its tag does not fit.
pub(super) fn resolve<'src>(
    text: Cow<'src, str>,
    plain: bool,
    tag: Option<&Tag>,
) -> Result<Kind<'src>, String> {
    let tag = tag.and_then(|t| {
        let bang = t.handle() == "!" && t.suffix().is_empty()
            || t.handle().is_empty() && t.suffix() == "!";
        (!bang).then_some(t)
    });
    let Some(tag) = tag else {
        return Ok(if plain {
            resolve_plain(text)
        } else {
            Kind::String(text)
        });
    };
    let Some(name) = tag.suffix_in_namespace("tag:yaml.org,2002:") else {
        return Ok(Kind::String(text));
    };
    let mismatch = || format!("`{text}` does not fit its tag `!!{name}`");
    match name.as_ref() {
        "int" | "float" | "bool" | "null" => {
            let whole = matches!(number(&text), Some(Num::Whole(_)));
            let kind = resolve_plain(text.clone());
            let fits = match (&kind, name.as_ref()) {
                (Kind::Number(_), "int") => whole,
                (Kind::Number(_), "float") | (Kind::Bool(_), "bool") | (Kind::Null, "null") => true,
                _ => false,
            };
            if fits { Ok(kind) } else { Err(mismatch()) }
        }
        "timestamp" if !is_date(&text) => Err(mismatch()),
        "binary" if !is_base64(&text) => Err(mismatch()),
        _ => Ok(Kind::String(text)),
    }
}

fn resolve_plain(text: Cow<'_, str>) -> Kind<'_> {
    match text.as_ref() {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "true" | "True" | "TRUE" => return Kind::Bool(true),
        "false" | "False" | "FALSE" => return Kind::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Kind::Number(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Kind::Number(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Kind::Number(f64::NEG_INFINITY),
        _ => {}
    }
    match number(&text) {
        Some(Num::Whole(value)) => Kind::Number(whole_to_f64(value)),
        Some(Num::Float(value)) => Kind::Number(value),
        None => Kind::String(text),
    }
}

/// Every number of a program is a 64-bit float; digits it cannot hold are warned about.
fn whole_to_f64(value: i128) -> f64 {
    value as f64
}

enum Num {
    Whole(i128),
    Float(f64),
}

fn number(text: &str) -> Option<Num> {
    let first = text.bytes().next()?;
    if first == b'.' {
        return float(text).map(Num::Float);
    }
    if !first.is_ascii_digit() && first != b'+' && first != b'-' {
        return None;
    }
    let digits: Cow<'_, str> = if text.contains('_') {
        text.replace('_', "").into()
    } else {
        text.into()
    };
    whole(&digits)
        .map(Num::Whole)
        .or_else(|| float(&digits).map(Num::Float))
}

/// An integer with an optional sign and a radix prefix, within −2^63 … 2^64−1.
fn whole(text: &str) -> Option<i128> {
    let (sign, body) = match text.as_bytes().first()? {
        b'+' | b'-' => text.split_at(1),
        _ => ("", text),
    };
    let (radix, digits) = match body.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &body[2..]),
        [b'0', b'o' | b'O', ..] => (8, &body[2..]),
        [b'0', b'b' | b'B', ..] => (2, &body[2..]),
        [b'0', _, ..] => (8, &body[1..]),
        _ => (10, body),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    let value = if sign == "-" { -magnitude } else { magnitude };
    let max = if sign == "+" {
        i128::from(i64::MAX)
    } else {
        i128::from(u64::MAX)
    };
    (i128::from(i64::MIN)..=max)
        .contains(&value)
        .then_some(value)
}

/// `[+-]? (digits [. digits*] | . digits) ([eE][+-]? digits)?`; an overflow is no number.
fn float(text: &str) -> Option<f64> {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match body.find(['e', 'E']) {
        Some(at) => (&body[..at], Some(&body[at + 1..])),
        None => (body, None),
    };
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let mantissa_fits = match mantissa.split_once('.') {
        Some(("", fraction)) => digits(fraction),
        Some((lead, fraction)) => digits(lead) && (fraction.is_empty() || digits(fraction)),
        None => digits(mantissa),
    };
    let exponent_fits = exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)));
    if !mantissa_fits || !exponent_fits {
        return None;
    }
    text.parse::<f64>().ok().filter(|n| n.is_finite())
}

/// Whether a 64-bit float holds `text`, a whole number, to its last digit. True for what is no
/// whole number.
pub fn is_precise(text: &str) -> bool {
    let plain = text.replace('_', "");
    match whole(&plain) {
        Some(value) => whole_to_f64(value) as i128 == value,
        None => !plain.bytes().all(|b| b.is_ascii_digit()) || plain.len() <= 15,
    }
}

/// The warning for a whole number that loses digits.
pub(super) fn check_precision(
    file: &Arc<SourceFile>,
    span: Span,
    number: f64,
) -> Option<Diagnostic> {
    /// 2^53: the first whole number whose successor a 64-bit float cannot hold.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let raw = file.text.get(span.start as usize..span.end as usize)?;
    if number.abs() <= EXACT_MAX || is_precise(raw) {
        return None;
    }
    Some(
        Diagnostic::warning(
            NUMBER_PRECISION,
            format!("number `{raw}` loses digits: it is kept as {number}"),
        )
        .at(file, span, "")
        .hint(format!("write `\"{raw}\"`")),
    )
}

/// `2001-01-01`, optionally followed by a time.
fn is_date(text: &str) -> bool {
    let date = text.split(['T', 't', ' ']).next().unwrap_or_default();
    let mut parts = date.split('-');
    let digits = |part: Option<&str>, lengths: std::ops::RangeInclusive<usize>| {
        part.is_some_and(|p| lengths.contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()))
    };
    digits(parts.next(), 4..=4)
        && digits(parts.next(), 1..=2)
        && digits(parts.next(), 1..=2)
        && parts.next().is_none()
}

/// The shape of base64 text; the value keeps its text, so nothing is decoded.
fn is_base64(text: &str) -> bool {
    let dense: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let body = dense
        .strip_suffix(b"==")
        .or_else(|| dense.strip_suffix(b"="))
        .unwrap_or(&dense);
    dense.len().is_multiple_of(4)
        && body
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
}
