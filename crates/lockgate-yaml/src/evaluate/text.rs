//! Values as text: inside strings as the original's language prints them, and as JSON.

use std::fmt::Write as _;

use lockgate_model::{PropertyMap, Value};

/// Appends a value as it looks inside a text.
pub(super) fn push(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::Bool(value) => {
            let _ = write!(out, "{value}");
        }
        Value::Number(number) => out.push_str(&number_text(*number)),
        Value::String(text) => out.push_str(text),
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                push(out, item);
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push_str("map[");
            for (index, (key, item)) in map.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                let _ = write!(out, "{key}:");
                push(out, item);
            }
            out.push(']');
        }
        Value::Secret(inner) => push(out, inner),
        Value::Unknown | Value::Asset(_) | Value::Archive(_) | Value::Reference(_) => {}
    }
}

/// Mantissa digits with their point, and the decimal exponent: shortest that reads back the same.
fn shortest(number: f64) -> (String, i32) {
    let text = format!("{number:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (mantissa.to_owned(), exponent.parse().unwrap_or_default())
}

/// A number inside a text: exponent form below 1e-4 and from 1e6 up, with a sign and two digits.
/// Names of real resources hang on it (yaml guide, section 3).
pub(super) fn number_text(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let (mantissa, exponent) = shortest(number);
    if number != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    number.to_string()
}

/// Compact JSON with sorted keys and the characters escaped that would matter inside HTML.
/// `Err` names what JSON cannot hold.
pub(super) fn push_json(out: &mut String, value: &Value) -> Result<(), &'static str> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => {
            let _ = write!(out, "{value}");
        }
        Value::Number(number) if !number.is_finite() => return Err("a number that is not finite"),
        Value::Number(number) => push_json_number(out, *number),
        Value::String(text) => push_json_text(out, text),
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push_json(out, item)?;
            }
            out.push(']');
        }
        Value::Map(map) => push_json_map(out, map)?,
        Value::Secret(inner) => push_json(out, inner)?,
        Value::Unknown => return Err("an unknown value"),
        Value::Asset(_) | Value::Archive(_) => return Err("an asset"),
        Value::Reference(_) => return Err("a resource"),
    }
    Ok(())
}

fn push_json_map(out: &mut String, map: &PropertyMap) -> Result<(), &'static str> {
    out.push('{');
    for (index, (key, item)) in map.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        push_json_text(out, key);
        out.push(':');
        push_json(out, item)?;
    }
    out.push('}');
    Ok(())
}

fn push_json_number(out: &mut String, number: f64) {
    let (mantissa, exponent) = shortest(number);
    if number != 0.0 && !(-6..21).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "{mantissa}e{sign}{:02}", exponent.abs());
        // The original drops the leading zero of small negative exponents only.
        if out.ends_with(|c: char| c.is_ascii_digit()) && exponent < 0 && exponent > -10 {
            let digit = out.pop().unwrap_or('0');
            out.pop();
            out.push(digit);
        }
    } else {
        let _ = write!(out, "{number}");
    }
}

fn push_json_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_text_print_as_the_original_prints_them() {
        for (number, text, json) in [
            (0.0, "0", "0"),
            (1.0, "1", "1"),
            (-1.5, "-1.5", "-1.5"),
            (999_999.0, "999999", "999999"),
            (1e6, "1e+06", "1000000"),
            (123_456_789.0, "1.23456789e+08", "123456789"),
            (0.0001, "0.0001", "0.0001"),
            (0.00001, "1e-05", "0.00001"),
            (1e-7, "1e-07", "1e-7"),
            (1e21, "1e+21", "1e+21"),
            (1e20, "1e+20", "100000000000000000000"),
            (1.5e-10, "1.5e-10", "1.5e-10"),
        ] {
            assert_eq!(number_text(number), text);
            let mut out = String::new();
            push_json(&mut out, &Value::Number(number)).expect("finite");
            assert_eq!(out, json);
        }
        assert_eq!(number_text(f64::INFINITY), "+Inf");
        assert_eq!(number_text(f64::NAN), "NaN");
    }

    #[test]
    fn collections_in_text_and_json() {
        let value = Value::Map(
            [
                (
                    "b".to_owned(),
                    Value::List(vec![Value::from("<&>"), Value::Null]),
                ),
                ("a".to_owned(), Value::Bool(true)),
            ]
            .into(),
        );
        let (mut text, mut json) = (String::new(), String::new());
        push(&mut text, &value);
        push_json(&mut json, &value).expect("plain");
        assert_eq!(text, "map[a:true b:[<&> <nil>]]");
        assert_eq!(json, "{\"a\":true,\"b\":[\"\\u003c\\u0026\\u003e\",null]}");
    }
}
