//! Entry points of the fuzz targets in `fuzz/`, each with its oracle: a panic is a find.

use crate::expression::Step;
use crate::reference::{Piece, scan};

/// References in any text: the pieces cover it in order, and what is written anew from them is
/// read the same.
pub fn reference(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let pieces = match scan(text) {
        Ok(pieces) => pieces,
        Err(error) => {
            assert!(error.range.start < error.range.end && error.range.end <= text.len());
            assert!(text.get(error.range.clone()).is_some(), "{:?}", error.range);
            return;
        }
    };
    let mut end = 0;
    let mut again = String::new();
    for piece in &pieces {
        match piece {
            Piece::Text(plain) => again.push_str(&plain.replace('$', "$$")),
            Piece::Reference {
                range,
                root,
                root_range,
                steps,
            } => {
                assert!(range.start >= end && root_range.start >= range.start);
                assert!(
                    text[range.clone()].starts_with("${") && text[range.clone()].ends_with('}')
                );
                end = root_range.end;
                again.push_str(&format!("${{{}", quoted(root)));
                for (step, place) in steps {
                    assert!(place.start >= end && place.end <= range.end);
                    assert!(text.get(place.clone()).is_some());
                    end = place.end;
                    match step {
                        Step::Index(index) => again.push_str(&format!("[{index}]")),
                        Step::Name(key) | Step::Key(key) => again.push_str(&quoted(key)),
                    }
                }
                again.push('}');
                end = range.end;
            }
        }
    }
    // There is no spelling in quotes for a key that ends with a backslash.
    if again.contains('\\') && text.contains('\\') {
        return;
    }
    let read = scan(&again).unwrap_or_else(|error| panic!("{again}: {error:?}"));
    assert_eq!(meaning(&read), meaning(&pieces), "{again}");
}

/// A step that is spelled as a key in quotes.
fn quoted(key: &str) -> String {
    format!("[\"{}\"]", key.replace('"', "\\\""))
}

/// What a text says, whatever its spelling.
fn meaning(pieces: &[Piece]) -> Vec<(String, Vec<String>)> {
    let step = |step: &Step| match step {
        Step::Index(index) => index.to_string(),
        Step::Name(key) | Step::Key(key) => format!("{key:?}"),
    };
    let one = |piece: &Piece| match piece {
        Piece::Text(text) => (text.clone(), Vec::new()),
        Piece::Reference { root, steps, .. } => (
            format!("${root}"),
            steps.iter().map(|(s, _)| step(s)).collect(),
        ),
    };
    pieces.iter().map(one).collect()
}

#[cfg(test)]
mod tests;
