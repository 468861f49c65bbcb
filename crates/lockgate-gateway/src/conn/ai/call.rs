//! A call under way: its start is in the ledger, and whatever happens its end will be.

use std::rc::Rc;

use lockgate_model::ai::{CallEnd, CallId, CallStart, CallStatus, LedgerEntry, LedgerError, Usage};

use crate::core::Core;
use crate::failure::{Failure, Kind, Side};
use crate::trace::Trace;

/// A call to a vendor. Dropped without an end, it ends as cut.
pub(super) struct Call {
    /// Its ledger and clock; counted per core, so that cores do not fight over the count.
    core: Rc<Core>,
    id: CallId,
    input_estimate: u64,
    /// Tokens that the vendor has written for certain.
    output: u64,
    pub(super) http_status: Option<u16>,
    settled: bool,
}

fn no_ledger(error: LedgerError) -> Failure {
    // The ledger tells the log once; a line per refused call would fill the disk further.
    let cause = std::error::Error::source(&error).map_or_else(String::new, ToString::to_string);
    Failure::because(Kind::NoLedger, cause)
}

fn append(core: &Core, entry: &LedgerEntry) -> Result<(), Failure> {
    let ledger = core.shared.ledger.as_ref().ok_or(Kind::NoLedger)?;
    ledger.append(entry).map_err(no_ledger)
}

impl Call {
    /// Records that a call starts. Nothing may go to the vendor before this.
    pub(super) fn start(
        core: &Rc<Core>,
        trace: &Trace,
        start: &CallStart,
    ) -> Result<Self, Failure> {
        let id = CallId {
            request: trace.id().into(),
            attempt: trace.attempts,
        };
        let entry = LedgerEntry::Started(id.clone(), start.clone());
        append(core, &entry)?;
        Ok(Self {
            core: Rc::clone(core),
            id,
            input_estimate: start.input_estimate,
            output: 0,
            http_status: None,
            settled: false,
        })
    }

    /// Takes note of the tokens that the vendor has written; whether there are more of them.
    pub(super) fn note(&mut self, output: u64) -> bool {
        let more = output > self.output;
        self.output = self.output.max(output);
        more
    }

    /// Records how many tokens were seen, before they are passed on. A ledger that is full keeps
    /// room for ends only: then a node that dies now would know less of this call.
    pub(super) fn progress(&mut self, output: u64) {
        if self.note(output) && !self.settled {
            let _ = append(&self.core, &LedgerEntry::Progress(self.id.clone(), output));
        }
    }

    /// Records the end; only the first one counts. What the vendor did not tell is estimated.
    pub(super) fn settle(
        &mut self,
        status: CallStatus,
        usage: Option<Usage>,
    ) -> Result<(), Failure> {
        if std::mem::replace(&mut self.settled, true) {
            return Ok(());
        }
        let end = CallEnd {
            at: self.core.shared.clock.now(),
            status,
            http_status: self.http_status,
            usage: usage.unwrap_or(Usage {
                input: self.input_estimate,
                output: self.output,
                ..Usage::default()
            }),
            estimated: usage.is_none(),
        };
        let entry = LedgerEntry::Settled(self.id.clone(), end);
        append(&self.core, &entry)
    }

    /// Records that a vendor refused or failed before it wrote anything.
    pub(super) fn refused(&mut self, usage: Option<Usage>) -> Result<(), Failure> {
        let nothing = Usage::default();
        self.settle(CallStatus::VendorError, Some(usage.unwrap_or(nothing)))
    }

    /// Records the end of a call that had no answer.
    pub(super) fn fail(&mut self, failure: &Failure) -> Result<(), Failure> {
        match failure.kind {
            Kind::Gone => self.settle(CallStatus::ClientCancelled, None),
            Kind::Timeout | Kind::UpstreamHeadTimeout | Kind::IdleTimeout => {
                self.settle(CallStatus::Timeout, None)
            }
            kind if kind.side() == Side::Upstream => self.refused(None),
            _ => self.settle(CallStatus::Cut, None),
        }
    }

    /// Records the end of a call whose answer ended early.
    pub(super) fn cut(&mut self, failure: &Failure, usage: Option<Usage>) -> Result<(), Failure> {
        let status = match failure.kind {
            Kind::Gone => CallStatus::ClientCancelled,
            Kind::Timeout | Kind::IdleTimeout => CallStatus::Timeout,
            _ => CallStatus::Cut,
        };
        self.settle(status, usage)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // A ledger that refuses was told to the log; the next start of the node settles the call.
        let _ = self.settle(CallStatus::Cut, None);
    }
}
