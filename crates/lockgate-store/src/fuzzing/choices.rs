//! Entries of the ledger from the bytes of a fuzzer.

use std::sync::Arc;

use lockgate_model::Timestamp;
use lockgate_model::ai::{
    CallEnd, CallId, CallStart, CallStatus, CallTerms, LedgerEntry, Operation, Price,
};

use crate::ledger::counts::{rates, usage};

/// Letters of the longest text.
const TEXT_MAX: usize = 1000;
/// Lengths of texts that come from the bytes.
const SHORT_MAX: u8 = 24;

/// Reads choices from the bytes; zeros when they end.
pub(super) struct Choices<'b>(pub(super) &'b [u8]);

impl<'b> Choices<'b> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn flag(&mut self) -> bool {
        self.byte() & 1 != 0
    }

    /// Up to `n` bytes.
    pub(super) fn take(&mut self, n: usize) -> &'b [u8] {
        let (taken, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A number of as many bytes as the first says.
    pub(super) fn number(&mut self) -> u64 {
        (0..self.byte() % 9).fold(0, |all, _| all << 8 | u64::from(self.byte()))
    }

    /// A place below `end`, which is not zero.
    pub(super) fn place(&mut self, end: usize) -> usize {
        (usize::from(self.byte()) << 8 | usize::from(self.byte())) % end
    }

    fn text(&mut self) -> Arc<str> {
        match self.byte() {
            u8::MAX => "x".repeat(TEXT_MAX).into(),
            length => {
                let text = self.take(usize::from(length % SHORT_MAX));
                String::from_utf8_lossy(text).into()
            }
        }
    }

    fn id(&mut self) -> CallId {
        let mut uuid = [0; 16];
        let length = usize::from(self.byte() % 17);
        let taken = self.take(length);
        uuid[..taken.len()].copy_from_slice(taken);
        let hex = hex::encode(uuid);
        let groups = [0..8, 8..12, 12..16, 16..20, 20..32].map(|group| &hex[group]);
        let request = match self.byte() % 4 {
            0 => self.text(),
            1 => groups.join("-").to_uppercase().into(),
            _ => groups.join("-").into(),
        };
        let attempt = self.number() as u32;
        CallId { request, attempt }
    }

    fn seven(&mut self) -> [u64; 7] {
        let there = self.byte();
        std::array::from_fn(|bit| match there >> bit & 1 {
            0 => 0,
            _ => self.number(),
        })
    }

    fn terms(&mut self) -> CallTerms {
        let there = self.byte();
        let mut maybe = |bit: u8| (there & bit != 0).then(|| self.text());
        let (consumer, api_key) = (maybe(1), maybe(2));
        CallTerms {
            route: self.text(),
            consumer,
            api_key,
            alias: self.text(),
            vendor: self.text(),
            vendor_model: self.text(),
            operation: Operation::ALL[usize::from(there >> 2 & 1)],
            price: (there & 8 != 0).then(|| Price {
                version: self.text(),
                currency: self.text(),
                rates: rates(self.seven()),
            }),
        }
    }

    /// An entry of any kind.
    pub(super) fn entry(&mut self) -> LedgerEntry {
        let kind = self.byte();
        let id = self.id();
        match kind % 3 {
            0 => {
                let start = CallStart {
                    at: Timestamp(self.number().cast_signed()),
                    terms: Arc::new(self.terms()),
                    stream: self.flag(),
                    input_estimate: self.number(),
                };
                LedgerEntry::Started(id, start)
            }
            1 => LedgerEntry::Progress(id, self.number()),
            _ => {
                let end = CallEnd {
                    at: Timestamp(self.number().cast_signed()),
                    status: CallStatus::ALL[usize::from(self.byte()) % CallStatus::ALL.len()],
                    http_status: self.flag().then(|| self.number() as u16),
                    usage: usage(self.seven()),
                    estimated: self.flag(),
                };
                LedgerEntry::Settled(id, end)
            }
        }
    }
}
