//! The audit chain: each row's code covers the row and the code before it.

use lockgate_model::Timestamp;

use crate::key::hmac;

/// Who did something, for the audit row of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// When.
    pub at: Timestamp,
    /// Who, for example `uid:1000` or `key`.
    pub actor: String,
    /// The API request it came with; empty for acts of the node itself.
    pub request: String,
}

/// One row of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// Number, from 1, without gaps.
    pub seq: u64,
    /// Who, when and by which request.
    pub act: Act,
    /// Verb, for example `put` or `remove`.
    pub action: String,
    /// What it was done to, for example `route shop/dev/web`.
    pub object: String,
    /// Covers this row and the row before it.
    pub mac: [u8; 32],
}

impl AuditRow {
    /// The code this row must carry after `previous`. Texts are preceded by their length: without
    /// it, moving a letter from one field to the next would go unseen.
    pub(crate) fn expected_mac(&self, key: &[u8; 32], previous: &[u8; 32]) -> [u8; 32] {
        let numbers = [self.seq.to_be_bytes(), self.act.at.0.to_be_bytes()].concat();
        let texts = [
            &self.act.actor,
            &self.action,
            &self.object,
            &self.act.request,
        ];
        let lengths = texts.map(|text| (text.len() as u64).to_be_bytes());
        let mut parts: Vec<&[u8]> = vec![previous, &numbers];
        for (length, text) in lengths.iter().zip(texts) {
            parts.extend([length.as_slice(), text.as_bytes()]);
        }
        hmac(key, &parts)
    }
}
