//! Calls that need a file, another stack or a package: run before the expression around them.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockgate_engine::source::{Invocation, ReadResource};
use lockgate_model::value::{Archive, ArchiveSource, Asset, AssetSource};
use lockgate_model::{PropertyMap, Urn, Value};

use super::{Ended, Run, answer};
use crate::check::STACK_REFERENCE;
use crate::evaluate::{Evaluator, Tracked};
use crate::expression::{Call, Expression, Function, Invoke};
use crate::files::{Files, hash_archive};
use crate::function::Builtin;

impl Run<'_> {
    /// Runs the calls with effects inside `expressions`, inner ones first.
    pub(super) async fn effects(
        &self,
        file: usize,
        expressions: &[&Expression],
    ) -> Result<HashMap<u32, Tracked>, Ended> {
        let mut calls: Vec<&Call> = Vec::new();
        for expression in expressions {
            expression.calls(&mut |call| {
                if !matches!(&call.function, Function::Builtin(b) if !b.has_effect()) {
                    calls.push(call);
                }
            });
        }
        let mut slots = HashMap::with_capacity(calls.len());
        for call in calls {
            let result = match &call.function {
                Function::Builtin(builtin) => self.effect(file, *builtin, call, &slots).await?,
                Function::Invoke(invoke) => self.invoke(file, invoke, call, &slots).await?,
            };
            slots.insert(call.slot, result);
        }
        Ok(slots)
    }

    async fn effect(
        &self,
        file: usize,
        builtin: Builtin,
        call: &Call,
        slots: &HashMap<u32, Tracked>,
    ) -> Result<Tracked, Ended> {
        let span = call.args.last().map_or(call.span, |a| a.span);
        let mut evaluator = self.evaluator(file, slots);
        let mut args = Vec::with_capacity(call.args.len());
        let mut sources = Vec::new();
        for arg in &call.args {
            let tracked = evaluator.tracked(arg)?;
            sources.extend(tracked.sources);
            args.push(tracked.value);
        }
        let secret = args.iter().any(Value::contains_secret);
        let value = if args.iter().any(Value::contains_unknown) {
            Value::Unknown
        } else {
            let mut texts = Vec::with_capacity(args.len());
            for arg in &args {
                let Some(text) = arg.as_str() else {
                    let message = format!(
                        "the argument of `{}` must be a string, found {}",
                        builtin.name(),
                        arg.kind_name()
                    );
                    return Err(evaluator.fail(span, message).into());
                };
                texts.push(text.to_owned());
            }
            match (builtin, texts.as_slice()) {
                (Builtin::StackReference, [stack, output]) => {
                    self.stack_output(stack, output).await?
                }
                (_, [path]) => match self.file_value(builtin, path).await {
                    Ok(value) => value,
                    // The error names the path, which must not be shown if it is secret.
                    Err(_) if secret => {
                        return Err(evaluator.fail(span, "cannot read the file").into());
                    }
                    Err(error) => {
                        let failure = evaluator.fail(span, format!("cannot read `{path}`"));
                        return Err(Box::new(failure.caused_by(&error)).into());
                    }
                },
                _ => Value::Null,
            }
        };
        Ok(Tracked {
            value: if secret { value.into_secret() } else { value },
            sources,
        })
    }

    /// Reads a file off the threads that drive the run.
    async fn file_value(&self, builtin: Builtin, path: &str) -> io::Result<Value> {
        let files = Arc::clone(&self.shared.files);
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || read_value(files.as_ref(), builtin, &path))
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    async fn stack_output(&self, stack: &str, output: &str) -> Result<Value, Ended> {
        let cell = Arc::clone(
            self.shared
                .stacks
                .lock()
                .entry(stack.to_owned())
                .or_default(),
        );
        let registered = cell
            .get_or_try_init(|| {
                self.shared.monitor.read(ReadResource {
                    type_token: STACK_REFERENCE.to_owned(),
                    name: stack.to_owned(),
                    id: stack.to_owned(),
                    inputs: [("name".to_owned(), Value::from(stack))].into(),
                    ..ReadResource::default()
                })
            })
            .await?;
        let outputs = registered.outputs.get("outputs");
        let found = outputs
            .and_then(Value::as_map)
            .and_then(|map| map.get(output));
        let value = found.cloned().unwrap_or_default();
        Ok(match outputs {
            Some(Value::Secret(_)) => value.into_secret(),
            _ => value,
        })
    }

    async fn invoke(
        &self,
        file: usize,
        invoke: &Invoke,
        call: &Call,
        slots: &HashMap<u32, Tracked>,
    ) -> Result<Tracked, Ended> {
        let mut evaluator = self.evaluator(file, slots);
        let args = evaluator.tracked(&call.args[0])?;
        let mut invocation = self.invocation(invoke, call, &mut evaluator)?;
        let mut sources = args.sources;
        invocation.depends_on.extend(sources.iter().cloned());
        invocation.depends_on.sort();
        invocation.depends_on.dedup();
        sources.clone_from(&invocation.depends_on);
        if args.value.contains_unknown() {
            let value = Value::Unknown;
            return Ok(Tracked { value, sources });
        }
        let secret = args.value.contains_secret();
        let Some(map) = args.value.as_map() else {
            let message = format!(
                "the arguments of a function must be a map, found {}",
                args.value.kind_name()
            );
            return Err(evaluator.fail(call.span, message).into());
        };
        invocation.args = map.clone();
        let mut outcome = self.shared.monitor.invoke(invocation).await?;
        self.mark_secrets(call, &mut outcome);
        let value = answer(outcome, invoke.pick.as_deref());
        Ok(Tracked {
            value: if secret { value.into_secret() } else { value },
            sources,
        })
    }

    /// The call without its arguments.
    fn invocation(
        &self,
        invoke: &Invoke,
        call: &Call,
        evaluator: &mut Evaluator<'_>,
    ) -> Result<Invocation, Ended> {
        let function = self.checked.functions.get(&call.slot);
        let token = function.map_or(invoke.token.as_str(), |f| f.token.as_str());
        let mut invocation = Invocation {
            function: token.to_owned(),
            version: invoke.version.clone(),
            ..Invocation::default()
        };
        if let Some(expression) = &invoke.depends_on {
            invocation.depends_on = evaluator.urns(expression, "dependsOn")?;
        }
        if let Some(expression) = &invoke.parent {
            invocation.parent = evaluator.one(expression, "parent")?.map(|r| r.urn.clone());
        }
        if let Some(expression) = &invoke.provider {
            invocation.provider = evaluator
                .one(expression, "provider")?
                .map(|r| r.as_provider());
        }
        Ok(invocation)
    }

    fn mark_secrets(&self, call: &Call, outcome: &mut Option<PropertyMap>) {
        if let (Some(map), Some(function)) = (outcome, self.checked.functions.get(&call.slot)) {
            for (name, value) in map.iter_mut() {
                if function.is_secret_output(name) {
                    *value = std::mem::take(value).into_secret();
                }
            }
        }
    }
}

fn read_value(files: &dyn Files, builtin: Builtin, path: &str) -> io::Result<Value> {
    Ok(match builtin {
        Builtin::ReadFile => {
            let text = String::from_utf8(files.read(path)?).map_err(|_| {
                io::Error::new(io::ErrorKind::InvalidData, "the file is not UTF-8 text")
            })?;
            Value::String(text)
        }
        Builtin::FileBase64 => Value::String(STANDARD.encode(files.read(path)?)),
        Builtin::FileBase64Sha256 => Value::String(STANDARD.encode(files.sha256(path)?)),
        Builtin::FileAsset => Value::Asset(Asset {
            hash: Some(hex::encode(files.sha256(path)?)),
            source: AssetSource::Path(path.to_owned()),
        }),
        _ => Value::Archive(Archive {
            hash: Some(hash_archive(files, path)?),
            source: ArchiveSource::Path(path.to_owned()),
        }),
    })
}

/// URNs without repeats, in order.
pub(super) fn distinct(mut urns: Vec<Urn>) -> Vec<Urn> {
    urns.sort();
    urns.dedup();
    urns
}
