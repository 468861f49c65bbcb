//! What was read of the ledger and is not in the database: the calls under way.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lockgate_model::ai::{
    CallEnd, CallId, CallRow, CallStart, CallStatus, CallTerms, Cost, LedgerEntry, Usage,
};

use crate::ledger::record::SharedTerms;

/// Calls under way that are kept in memory; when there are more, all of them move to SQL.
const OPEN_MAX: usize = 64 * 1024;
/// Terms whose ids are kept; when there are more, all are looked up again.
const TERMS_MAX: usize = 4096;

/// Ids of terms in the database.
pub(super) type TermsIds = Vec<(Arc<CallTerms>, i64)>;

/// How far the ledger was applied.
#[derive(Debug, Default)]
pub(crate) struct Applier {
    /// Entries up to this number are in the database or in `open`.
    applied: u64,
    /// Calls without an end, and without a row.
    open: HashMap<CallId, Open>,
    /// Ids in the database.
    terms: HashMap<Arc<CallTerms>, i64>,
    /// Terms that were read.
    pub(super) shared: SharedTerms,
}

/// A call under way.
#[derive(Clone, Debug)]
struct Open {
    /// Number of its start.
    number: u64,
    start: CallStart,
    /// Tokens that the vendor has written.
    output: u64,
}

/// What entries say of a call whose start is not in memory: its row is open, or was settled.
#[derive(Debug, Default)]
pub(super) struct Said {
    output: Option<u64>,
    end: Option<CallEnd>,
}

/// What some entries do.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// Rows to write.
    pub(super) rows: Vec<CallRow>,
    /// Calls that are looked up in the database.
    pub(super) elsewhere: BTreeMap<CallId, Said>,
    /// Number of the last entry.
    pub(super) applied: u64,
    /// Calls that started, or of which more is known.
    open: HashMap<CallId, Open>,
    /// Calls that need no memory any more.
    closed: Vec<CallId>,
}

impl Open {
    fn row(&self, id: &CallId) -> CallRow {
        let mut row = CallRow {
            id: id.clone(),
            start: self.start.clone(),
            ended_at: None,
            status: CallStatus::Open,
            http_status: None,
            usage: Usage {
                input: self.start.input_estimate,
                output: self.output,
                ..Usage::default()
            },
            estimated: true,
            cost: Cost::default(),
        };
        row.cost = cost(&row);
        row
    }
}

impl Said {
    pub(super) fn apply(self, row: &mut CallRow) {
        if let Some(output) = self.output {
            row.usage.output = output;
            row.cost = cost(row);
        }
        if let Some(end) = self.end {
            settle(row, end);
        }
    }
}

/// Ends a call.
pub(super) fn settle(row: &mut CallRow, end: CallEnd) {
    row.ended_at = Some(end.at);
    row.status = end.status;
    row.http_status = end.http_status;
    row.usage = end.usage;
    row.estimated = end.estimated;
    row.cost = cost(row);
}

fn cost(row: &CallRow) -> Cost {
    let price = row.start.terms.price.as_ref();
    price.map_or_else(Cost::default, |price| price.rates.cost(&row.usage))
}

impl Applier {
    /// Entries up to `applied` are in the database; which of their calls are open, the files say.
    pub(super) fn begin(&mut self, applied: u64) {
        self.applied = applied;
    }

    /// Number of the first entry that a later node has to read.
    pub(super) fn kept(&self) -> u64 {
        let oldest = self.open.values().map(|open| open.number).min();
        oldest.unwrap_or(u64::MAX).min(self.applied + 1)
    }

    pub(super) fn terms_id(&self, terms: &Arc<CallTerms>) -> Option<i64> {
        self.terms.get(terms).copied()
    }

    /// What `entries` do; changes nothing. Of entries that the database has, only the calls that
    /// they leave open count.
    pub(super) fn step(&self, entries: Vec<(u64, LedgerEntry)>) -> Step {
        let last = entries.last().map_or(0, |(number, _)| *number);
        let mut step = Step {
            applied: last.max(self.applied),
            ..Step::default()
        };
        for (number, entry) in entries {
            let fresh = number > self.applied;
            match entry {
                LedgerEntry::Started(id, start) => {
                    let output = 0;
                    let open = Open {
                        number,
                        start,
                        output,
                    };
                    step.open.insert(id, open);
                }
                LedgerEntry::Progress(id, output) => {
                    if let Some(mut open) = step.take_open(self, &id) {
                        open.output = output;
                        step.open.insert(id, open);
                    } else if fresh {
                        step.elsewhere.entry(id).or_default().output = Some(output);
                    }
                }
                LedgerEntry::Settled(id, end) => match step.take_open(self, &id) {
                    Some(open) => {
                        if fresh {
                            let mut row = open.row(&id);
                            settle(&mut row, end);
                            step.rows.push(row);
                        }
                        step.closed.push(id);
                    }
                    None if fresh => step.elsewhere.entry(id).or_default().end = Some(end),
                    None => {}
                },
            }
        }
        step
    }

    /// Takes over a step that is in the database, with the ids that it found there.
    pub(super) fn take(&mut self, step: Step, terms: TermsIds) {
        for id in &step.closed {
            self.open.remove(id);
        }
        self.open.extend(step.open);
        self.applied = step.applied;
        self.know(terms);
    }

    /// Keeps ids that the database has given.
    pub(super) fn know(&mut self, terms: TermsIds) {
        if self.terms.len() + terms.len() > TERMS_MAX {
            self.terms.clear();
        }
        self.terms.extend(terms.into_iter().take(TERMS_MAX));
    }
}

impl Step {
    fn take_open(&mut self, applier: &Applier, id: &CallId) -> Option<Open> {
        let here = self.open.remove(id);
        here.or_else(|| applier.open.get(id).cloned())
    }

    /// Makes rows of open calls that started before `crowded`, and of all when there are too many.
    pub(super) fn move_to_sql(&mut self, applier: &Applier, crowded: u64) {
        let many = self.open.len() + applier.open.len() > OPEN_MAX;
        let old = |open: &Open| many || open.number < crowded;
        let mut moved: HashMap<CallId, CallRow> = HashMap::new();
        for (id, open) in applier.open.iter().filter(|(_, open)| old(open)) {
            moved.insert(id.clone(), open.row(id));
        }
        for id in &self.closed {
            moved.remove(id);
        }
        for (id, open) in self.open.extract_if(|_, open| old(open)) {
            moved.insert(id.clone(), open.row(&id));
        }
        for (id, row) in moved {
            self.rows.push(row);
            self.closed.push(id);
        }
    }

    pub(super) fn is_without_rows(&self) -> bool {
        self.rows.is_empty() && self.elsewhere.is_empty()
    }
}
