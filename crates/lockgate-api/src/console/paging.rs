//! Lists in parts.

use serde::Deserialize;

/// Rows of a list on one page.
const ROWS: usize = 25;

/// Which part of each list is shown, from 1.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct Paging {
    pub(super) services: Option<usize>,
    pub(super) routes: Option<usize>,
    pub(super) models: Option<usize>,
}

impl Paging {
    /// The page that shows these parts.
    pub(super) fn address(self) -> String {
        let number = |page: Option<usize>| page.unwrap_or(1);
        let (services, routes) = (number(self.services), number(self.routes));
        let models = number(self.models);
        format!("/console?services={services}&routes={routes}&models={models}")
    }
}

/// The rows of part `page` of `all`; a page past the end is the last.
pub(super) fn slice<T>(all: &[T], page: Option<usize>) -> &[T] {
    let (start, end, _) = bounds(all.len(), page);
    &all[start..end]
}

/// First row, row after the last, and the page that was meant.
fn bounds(count: usize, page: Option<usize>) -> (usize, usize, usize) {
    let pages = count.div_ceil(ROWS).max(1);
    let page = page.unwrap_or(1).clamp(1, pages);
    let start = (page - 1) * ROWS;
    (start, (start + ROWS).min(count), page)
}

/// A part of a list, and the way to its neighbours.
pub(super) struct Part<T> {
    pub(super) rows: Vec<T>,
    /// Number of the first row, from 1.
    pub(super) first: usize,
    /// Number of the last row.
    pub(super) last: usize,
    /// Rows of the whole list.
    pub(super) count: usize,
    pub(super) previous: Option<String>,
    pub(super) next: Option<String>,
}

impl<T> Part<T> {
    /// Part `page` of `all`, made with `row`; `other` says what another part is asked with.
    pub(super) fn of<'a, S>(
        all: &'a [S],
        page: Option<usize>,
        row: impl Fn(&'a S) -> T,
        other: impl Fn(Option<usize>) -> Paging,
    ) -> Self {
        let (start, end, page) = bounds(all.len(), page);
        Self {
            rows: all[start..end].iter().map(row).collect(),
            first: start + 1,
            last: end,
            count: all.len(),
            previous: (page > 1).then(|| other(Some(page - 1)).address()),
            next: (end < all.len()).then(|| other(Some(page + 1)).address()),
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.previous.is_none() && self.next.is_none()
    }
}
