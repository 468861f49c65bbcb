//! The compiler thread: turns new specs into tables, swaps them in, and keeps the last good one on
//! disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lockgate_diag::Diagnostic;
use lockgate_model::gateway::{GatewaySpec, Rejected, TableStatus};
use tokio::sync::watch;

use crate::core::Shared;
use crate::metrics::Global;
use crate::table::Table;
use crate::table::compile::compile;
use crate::table::state::State;
use crate::table_file;
use crate::worker::Phase;

/// Least time between two tables: a burst of edits becomes one swap.
const COALESCE: Duration = Duration::from_millis(50);

/// The state of the compiler thread.
pub(crate) struct Compiler {
    pub(crate) spec: watch::Receiver<Arc<GatewaySpec>>,
    pub(crate) state: State,
    pub(crate) shared: Arc<Shared>,
    pub(crate) status: watch::Sender<TableStatus>,
    pub(crate) table_file: Option<PathBuf>,
    pub(crate) global: Arc<Global>,
    /// The spec that serves from the start and is not on disk yet.
    pub(crate) unsaved: Option<Arc<GatewaySpec>>,
}

/// The table to serve before anything else happens. A spec of version 0 means that the control
/// plane has not spoken yet: then the last good table from disk serves.
pub(crate) fn first_table(
    spec: &GatewaySpec,
    table_file: Option<&Path>,
    state: &mut State,
) -> (Table, TableStatus) {
    let stored = match table_file {
        Some(path) if spec.version == 0 => table_file::load(path),
        _ => Ok(None),
    };
    let (spec, mut refused) = match stored {
        Ok(Some(stored)) => (std::borrow::Cow::Owned(stored), Vec::new()),
        Ok(None) => (std::borrow::Cow::Borrowed(spec), Vec::new()),
        Err(diagnostic) => (std::borrow::Cow::Borrowed(spec), vec![diagnostic]),
    };
    let (table, found) = compile(&spec, state);
    if table.is_none() {
        refused.extend(found);
    }
    let table = table.unwrap_or_default();
    let status = TableStatus {
        version: table.version,
        rejected: (!refused.is_empty()).then_some(Rejected {
            version: spec.version,
            diagnostics: refused,
        }),
    };
    (table, status)
}

impl Compiler {
    /// Runs until the gateway stops. Once the sender of specs is gone, the last table serves on.
    pub(crate) fn run(mut self, mut phase: watch::Receiver<Phase>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "the gateway cannot take new tables");
                return;
            }
        };
        runtime.block_on(async {
            if let Some(spec) = self.unsaved.take() {
                self.save(&spec);
            }
            let work = async {
                while self.spec.changed().await.is_ok() {
                    self.apply();
                    tokio::time::sleep(COALESCE).await;
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = work => {}
                // An error means that the gateway was dropped: the same.
                _ = phase.wait_for(|phase| *phase == Phase::Stopping) => {}
            }
        });
    }

    fn apply(&mut self) {
        let spec = Arc::clone(&self.spec.borrow_and_update());
        let (table, found) = compile(&spec, &mut self.state);
        match table {
            Some(table) => {
                self.shared.swap(Arc::new(table));
                tracing::info!(version = spec.version, "gateway table applied");
                self.save(&spec);
                self.status.send_replace(TableStatus {
                    version: spec.version,
                    rejected: None,
                });
            }
            None => self.reject(spec.version, found),
        }
    }

    fn reject(&self, version: u64, found: Vec<Diagnostic>) {
        self.global.tables_rejected.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            version,
            errors = found.len(),
            "gateway spec refused, the old table serves"
        );
        self.status.send_modify(|status| {
            status.rejected = Some(Rejected {
                version,
                diagnostics: found,
            })
        });
    }

    /// A table that cannot be stored still serves; only a restart would miss it.
    fn save(&self, spec: &GatewaySpec) {
        if let Some(path) = &self.table_file
            && spec.version > 0
            && let Err(error) = table_file::save(path, spec)
        {
            tracing::warn!(%error, "the gateway table could not be stored");
        }
    }
}
