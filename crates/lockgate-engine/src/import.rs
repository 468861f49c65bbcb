//! Import without a program: the state is kept as it is, and what exists is read and added.

use std::sync::Arc;

use lockgate_diag::{Diagnostic, codes};
use lockgate_model::{JournalEntry, Urn};

use crate::engine::{Engine, Fate, Live};
use crate::goal::live_of;
use crate::journal::Durability;
use crate::registry::{ProviderHandle, is_default_provider};
use crate::run::Import;
use crate::source::{MonitorError, Registration, ResourceOptions};

impl Engine {
    /// Takes every wanted resource in. The first failure ends it, unless the run goes on after
    /// errors.
    pub(crate) async fn import_all(self: &Arc<Self>) {
        if self.keep_all().await.is_err() {
            return;
        }
        let root = self.stack_urn();
        if self.find_live(&root).is_none() {
            let stack = Registration {
                type_token: lockgate_model::urn::STACK_TYPE.to_owned(),
                name: root.name().to_owned(),
                ..Registration::default()
            };
            if Arc::clone(self).register(stack).await.is_err() {
                return;
            }
        }
        for import in &self.options.imports {
            if self.is_halted() {
                return;
            }
            // A failure was reported where it happened.
            let _ = self.import_one(import, &root).await;
        }
    }

    /// Everything of the old state is a part of the new one, in the same order and first, so that
    /// what is added may refer to any of it.
    async fn keep_all(&self) -> Result<(), MonitorError> {
        let mut kept = Vec::new();
        let mut defaults = Vec::new();
        {
            let mut guard = self.state.lock();
            let run = &mut *guard;
            for entry in &mut run.olds {
                kept.push(JournalEntry::Keep { entry: entry.id });
                entry.fate = Fate::Settled;
                let Some(urn) = entry.state.urn.clone().filter(|_| !entry.state.delete) else {
                    continue;
                };
                if is_default_provider(&urn) {
                    defaults.push((urn.clone(), Arc::clone(&entry.state)));
                }
                entry.claimed_by = Some(urn.clone());
                run.claimed.insert(urn.clone());
                let live = Live {
                    entry: Some(entry.id),
                    state: Arc::clone(&entry.state),
                    providers: Default::default(),
                    was: None,
                    replaced: false,
                    pending: false,
                    targeted: true,
                    skipped: false,
                };
                run.live.insert(urn, live);
            }
        }
        for (urn, state) in defaults {
            self.know_default_provider(&urn, &state).await;
        }
        self.record(kept, Durability::Queued).await
    }

    async fn import_one(self: &Arc<Self>, import: &Import, root: &Urn) -> Result<(), MonitorError> {
        let parent = import.parent.clone().unwrap_or_else(|| root.clone());
        let kind = &import.type_token;
        let urn = Urn::new(
            &self.stack,
            &self.project,
            Some(&parent),
            kind,
            &import.name,
        );
        if self.find_live(&urn).is_some() {
            let message = format!("`{urn}` is in the state already");
            return Err(self.report(
                Diagnostic::error(codes::program::DUPLICATE_URN, message)
                    .hint("give the import another name"),
            ));
        }
        let same = |live: &Live| live.state.custom && live.state.id == import.id;
        let twin = {
            let state = self.state.lock();
            let mut entries = state.live.iter();
            entries
                .find(|(urn, live)| urn.type_token() == kind && same(live))
                .map(|(urn, _)| urn.clone())
        };
        if let Some(twin) = twin {
            let message = format!("`{twin}` manages the id `{}` already", import.id);
            return Err(self.report(
                Diagnostic::error(codes::program::DUPLICATE_URN, message)
                    .hint("one resource in the world belongs to one entry of the state"),
            ));
        }
        let mut goal = self
            .claim(Registration {
                type_token: kind.clone(),
                name: import.name.clone(),
                custom: true,
                options: ResourceOptions {
                    parent: Some(parent),
                    provider: import.provider.clone(),
                    protect: Some(import.protect),
                    import_id: Some(import.id.clone()),
                    ..ResourceOptions::default()
                },
                ..Registration::default()
            })
            .await?;
        let explicit = goal.options.provider.clone();
        goal.provider = self
            .choose_provider(kind, explicit.as_deref(), &goal.providers, None)
            .await?;
        let handle = self.handle_of(&goal).await?;
        if !matches!(handle, ProviderHandle::Ready(_)) {
            return Err(self.report_error(
                codes::program::PROVIDER_MISSING,
                format!("`{urn}` cannot be imported: its provider has unknown settings"),
            ));
        }
        let index = self.import(&goal, &handle, &import.id).await?;
        let (entry, state) = self.old(index);
        self.set_fate(index, Fate::Settled);
        let live = Live {
            entry: Some(entry),
            ..live_of(&goal, state)
        };
        self.settle(&urn, live);
        Ok(())
    }
}
