//! Components at work: registered first, then what is inside as a scope of its own, then their
//! outputs.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_diag::Diagnostic;
use lockgate_diag::codes::program::MISSING_FIELD;
use lockgate_engine::source::Registration;
use lockgate_model::Value;

use super::{Ended, Instance, Run, Stopped};
use crate::evaluate::{Evaluator, Inside, Resolved, ResolvedResource, Tracked};
use crate::program::{Entry, EntryKind, Properties};

impl Run<'_> {
    /// The given inputs as their declared types; all that are needed are there.
    pub(super) fn check_inputs(
        &self,
        component: usize,
        entry: &Entry,
        given: &mut BTreeMap<String, Tracked>,
        evaluator: &Evaluator<'_>,
    ) -> Result<(), Ended> {
        let body = &self.shared.program.components[component].program;
        let place = |name: &str| match &entry.kind {
            EntryKind::Resource(resource) => match &resource.properties {
                Properties::Map(entries) => {
                    let found = entries.iter().find(|(n, ..)| n == name);
                    found.map_or(entry.span, |(_, _, value)| value.span)
                }
                Properties::Whole(whole) => whole.span,
            },
            _ => entry.span,
        };
        for declared in &body.entries {
            let EntryKind::Input(input) = &declared.kind else {
                continue;
            };
            let name = declared.name.as_ref();
            match given.get_mut(name).filter(|t| t.value != Value::Null) {
                Some(tracked) => {
                    let subject = format!("input `{name}` of `{}`", entry.name);
                    evaluator.typed(&mut tracked.value, input, &subject, place(name))?;
                }
                None if input.default.is_some() || input.optional => {}
                None => {
                    let message = format!("component `{}` needs the property `{name}`", entry.name);
                    let file = self.file(entry.file);
                    let diagnostic = Diagnostic::error(MISSING_FIELD, message);
                    return Err(Box::new(diagnostic.at(file, place(name), "")).into());
                }
            }
        }
        Ok(())
    }

    pub(super) async fn component(
        &self,
        index: usize,
        component: usize,
        registration: Registration,
    ) -> Result<Resolved, Ended> {
        let name = registration.name.clone();
        let mut sources = registration.property_dependencies.clone();
        let values = registration.inputs.clone().into_iter();
        let inputs = values
            .map(|(name, value)| {
                let sources = sources.remove(&name).unwrap_or_default();
                (name, Tracked { value, sources })
            })
            .collect();
        let planned = self.planned_urn(index, &registration.options.parent, &name);
        let mut registered = self.shared.monitor.register(registration).await?;
        let kind = self.checked.types[index].clone();
        let Some((urn, kind)) = registered.urn.clone().or(planned).zip(kind) else {
            return Err(Ended::Reported);
        };
        let instance = Instance {
            component,
            declared: self.declared(index),
            urn: urn.clone(),
            name,
            inputs,
        };
        let checked = &self.shared.program.components[component];
        let inner = Run::new(checked, self.shared, Some(instance));
        // A scope within a scope: the future would have no size otherwise.
        let body = Box::pin(inner.body())
            .await
            .map_err(|Stopped| Ended::Stopped)?;
        if !body.mistakes.is_empty() {
            let entry = &self.checked.program.entries[index];
            let text = format!("inside `{}`", entry.name);
            let mistakes = body.mistakes.into_iter();
            let file = self.file(entry.file);
            let placed = mistakes.map(|mistake| mistake.at(file, entry.span, text.clone()));
            return Err(Ended::Mistakes(placed.collect()));
        }
        if !body.whole {
            return Err(Ended::Reported);
        }
        let mut inside = Inside {
            members: inner.results.members(),
            ..Inside::default()
        };
        for (name, output) in body.outputs {
            inside.sources.insert(name.clone(), output.sources);
            registered.outputs.insert(name, output.value);
        }
        let outputs = registered.outputs.clone();
        let monitor = &self.shared.monitor;
        monitor.register_outputs(urn.clone(), outputs).await?;
        Ok(Resolved::Resource(Arc::new(ResolvedResource {
            urn,
            registered,
            kind,
            version: None,
            inside: Some(inside),
        })))
    }
}
