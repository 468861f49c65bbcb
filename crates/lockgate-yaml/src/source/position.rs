//! Byte offsets as lines and columns, for the positions that the state keeps.

use lockgate_diag::{SourceFile, Span};

/// Where the lines of a file start.
pub(super) struct LineTable {
    starts: Vec<usize>,
}

impl LineTable {
    pub(super) fn new(file: &SourceFile) -> Self {
        let feeds = file.text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            starts: std::iter::once(0).chain(feeds).collect(),
        }
    }

    /// `project:///<path>#<line>,<column>`, both counted from 1.
    pub(super) fn position(&self, file: &SourceFile, span: Span) -> String {
        let at = (span.start as usize).min(file.text.len());
        let line = self.starts.partition_point(|start| *start <= at);
        let start = self.starts[line - 1];
        let column = file.text.get(start..at).map_or(0, |t| t.chars().count()) + 1;
        format!("project:///{}#{line},{column}", file.path)
    }
}
