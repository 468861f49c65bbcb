//! Export, import and repair: what people do to a state by hand.

use std::io::Write;
use std::path::PathBuf;

use lockgate_model::Snapshot;

use super::Backend;
use crate::deployment::{
    DeploymentError, ExportedSecrets, Locked, SecretsOut, decode_deployment, encode_deployment,
    with_extra_encrypted,
};
use crate::error::StateError;
use crate::files::{read_optional, rename};
use crate::journal::salvage_journal;
use crate::lease::Lease;
use crate::name::StackName;
use crate::secrets::SecretsManager;
use crate::snapshot::{
    STATE_BYTES_MAX, StackFolder, Stored, commit_snapshot, decode_snapshot, read_snapshot,
};

/// Whether an import may hold resources of another stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignUrns {
    /// They are a mistake.
    Refuse,
    /// They are wanted.
    Allow,
}

/// What a repair did.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Repair {
    /// Files that were moved aside, under their new names.
    pub kept: Vec<PathBuf>,
    /// The backup was taken in place of the snapshot: the last run before it may be missing.
    pub used_backup: bool,
    /// Journal entries that were saved.
    pub entries_saved: usize,
    /// Journal entries that are lost or contradict the snapshot.
    pub entries_lost: bool,
}

impl Backend {
    /// Writes the stack as deployment JSON.
    pub fn export(
        &self,
        stack: &StackName,
        secrets: ExportedSecrets,
        out: &mut dyn Write,
    ) -> Result<(), StateError> {
        let loaded = self.load(stack)?;
        let own = &loaded.secrets;
        let now = self.clock.now();
        if secrets == ExportedSecrets::Encrypted {
            encode_deployment(out, &loaded.snapshot, own, secrets, now)?;
        } else {
            let shown = with_extra_encrypted(&loaded.snapshot, Some(own), SecretsOut::Shown)?;
            encode_deployment(out, &shown, own, secrets, now)?;
        }
        Ok(())
    }

    /// Replaces the state of the stack by deployment JSON, after checking it. Its secrets are
    /// encrypted anew for this stack when they came from another manager or in clear text.
    pub fn import(
        &self,
        lease: &Lease,
        text: &str,
        foreign: ForeignUrns,
    ) -> Result<(), StateError> {
        let decoded = decode_deployment(text, &self.keyring)?;
        if foreign == ForeignUrns::Refuse {
            check_urns(lease.stack(), &decoded.snapshot)?;
        }
        let folder = self.folder(lease.stack());
        let stored = self.read_stored(&folder)?;
        let snapshot = with_extra_encrypted(
            &decoded.snapshot,
            decoded.secrets.as_ref(),
            SecretsOut::Cells(&stored.secrets),
        )?;
        let serial = stored.mark.serial + 1;
        commit_snapshot(&folder, lease.fence(), &snapshot, &stored.secrets, serial)?;
        Ok(())
    }

    /// Writes an edited snapshot in place of the current one.
    pub fn write_snapshot(&self, lease: &Lease, snapshot: &Snapshot) -> Result<(), StateError> {
        let folder = self.folder(lease.stack());
        let stored = self.read_stored(&folder)?;
        let serial = stored.mark.serial + 1;
        commit_snapshot(&folder, lease.fence(), snapshot, &stored.secrets, serial)?;
        Ok(())
    }

    /// Encrypts the secrets of the stack with another manager from now on.
    pub fn change_secrets(
        &self,
        lease: &Lease,
        secrets: &SecretsManager,
    ) -> Result<(), StateError> {
        let folder = self.folder(lease.stack());
        let current = self.load_current(&folder)?;
        let old = &current.stored;
        let cells = SecretsOut::Cells(secrets);
        let snapshot = with_extra_encrypted(&old.snapshot, Some(&old.secrets), cells)?;
        let serial = old.mark.serial + 1;
        commit_snapshot(&folder, lease.fence(), &snapshot, secrets, serial)?;
        Ok(())
    }

    /// Gives a stack another name: makes it anew under `new`, history included, then removes the
    /// old one. A crash between the two leaves both, each sound; none is ever lost.
    pub fn rename_stack(&self, lease: Lease, new: &StackName) -> Result<(), StateError> {
        let old = self.folder(lease.stack());
        let loaded = self.load(lease.stack())?;
        let mut snapshot = (*loaded.snapshot).clone();
        lockgate_engine::edit::rename_stack(&mut snapshot, new.project(), new.stack())
            .map_err(|error| DeploymentError::integrity(vec![error.to_string()]))?;
        crate::deployment::check_integrity(&snapshot)?;
        self.publish_stack(new, &loaded.secrets, &snapshot, Some(&old.history()))?;
        self.remove_stack(lease, super::RemoveMode::Force)
    }

    fn read_stored(&self, folder: &StackFolder) -> Result<Stored, StateError> {
        let path = folder.snapshot();
        let bytes = read_snapshot(&path)?.unwrap_or_default();
        decode_snapshot(&path, &bytes, &self.keyring, Locked::Refuse)
    }

    /// Makes a damaged stack loadable again from what can still be read: the snapshot or else
    /// its backup, and the journal up to the first broken or contradicting record. What is
    /// given up stays beside as `*.damaged-<n>`.
    pub fn repair(&self, lease: &Lease) -> Result<Repair, StateError> {
        let folder = self.folder(lease.stack());
        let mut report = Repair::default();
        let newest = folder.lease_files().look()?.serial;
        let stored = match self.read_stored(&folder) {
            Err(StateError::Damaged { .. } | StateError::Deployment(_)) => {
                report.used_backup = true;
                let path = folder.backup();
                let bytes = read_optional(&path, STATE_BYTES_MAX)?.unwrap_or_default();
                let stored = decode_snapshot(&path, &bytes, &self.keyring, Locked::Refuse)?;
                self.set_aside(lease, &folder.snapshot(), &mut report)?;
                stored
            }
            other => other?,
        };
        let mut snapshot = (*stored.snapshot).clone();
        for (fencing, path) in folder.list_journals()? {
            let bytes = read_optional(&path, STATE_BYTES_MAX)?.unwrap_or_default();
            match salvage_journal(&path, &bytes, fencing, &stored.mark, &stored.secrets) {
                Ok(None) => continue,
                Ok(Some(journal)) => {
                    let (saved, next) = self.replay_prefix(&folder, &snapshot, &journal.entries);
                    report.entries_saved += saved;
                    let whole = saved == journal.entries.len() && journal.damaged_at.is_none();
                    snapshot = next;
                    if whole {
                        continue;
                    }
                }
                Err(StateError::Damaged { .. } | StateError::Deployment(_)) => {}
                Err(other) => return Err(other),
            }
            report.entries_lost = true;
            self.set_aside(lease, &path, &mut report)?;
        }
        let serial = stored.mark.serial.max(newest) + 1;
        commit_snapshot(&folder, lease.fence(), &snapshot, &stored.secrets, serial)?;
        Ok(report)
    }

    /// A long prefix of `entries` that replays to a consistent snapshot, found by halving: each
    /// try replays everything, and a journal may hold ten thousands of entries.
    fn replay_prefix(
        &self,
        folder: &StackFolder,
        base: &Snapshot,
        entries: &[lockgate_model::JournalEntry],
    ) -> (usize, Snapshot) {
        let attempt = |count: usize| self.replay(folder, base, &entries[..count]).ok();
        if let Some(snapshot) = attempt(entries.len()) {
            return (entries.len(), snapshot);
        }
        let mut good = (0, base.clone());
        let mut bad = entries.len();
        while bad - good.0 > 1 {
            let middle = good.0.midpoint(bad);
            match attempt(middle) {
                Some(snapshot) => good = (middle, snapshot),
                None => bad = middle,
            }
        }
        good
    }

    fn set_aside(
        &self,
        lease: &Lease,
        path: &std::path::Path,
        report: &mut Repair,
    ) -> Result<(), StateError> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".damaged-{}", lease.fencing()));
        let aside = path.with_file_name(name);
        lease.fence().write(|| match path.exists() {
            true => rename(path, &aside),
            false => Ok(()),
        })?;
        report.kept.push(aside);
        Ok(())
    }
}

/// Every resource of an import belongs to the stack it is imported into.
fn check_urns(stack: &StackName, snapshot: &Snapshot) -> Result<(), DeploymentError> {
    let faults: Vec<String> = snapshot
        .resources
        .iter()
        .filter_map(|state| state.urn.as_ref())
        .filter(|urn| urn.stack() != stack.stack() || urn.project() != stack.project())
        .map(|urn| format!("`{urn}` belongs to `{}/{}`", urn.project(), urn.stack()))
        .collect();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(DeploymentError::integrity(faults))
    }
}
