//! The two services that a program talks to: requests in, the engine's answers out.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_diag::{Secret, Severity};
use lockgate_engine::Monitor;
use lockgate_engine::source::{MonitorError, Registered};
use lockgate_model::urn::STACK_TYPE;
use lockgate_model::{PropertyMap, Urn, Value};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::assets::Folders;
use crate::generated::engine_server::Engine;
use crate::generated::resource_monitor_server::ResourceMonitor;
use crate::generated::{
    DeploymentInfo, GetRootResourceRequest, GetRootResourceResponse, LogRequest, LogSeverity,
    ReadResourceRequest, ReadResourceResponse, RegisterResourceOutputsRequest,
    RegisterResourceRequest, RegisterResourceResponse, ResourceInvokeRequest,
    ResourceInvokeResponse, ResourceMonitorFeature as Feature, Result as Outcome,
    SetRootResourceRequest, SetRootResourceResponse, SupportsFeatureRequest,
    SupportsFeatureResponse,
};
use crate::place::SourceFiles;
use crate::progress::Progress;
use crate::request::{self, Caller};
use crate::wire::{self, Accepts};

/// What is advertised, with the name under which older SDKs ask for it. A feature stands here
/// only when tests run programs that use it.
const FEATURES: &[(Feature, &str)] = &[
    (Feature::Secrets, "secrets"),
    (Feature::ResourceReferences, "resourceReferences"),
    (Feature::OutputValues, "outputValues"),
    (Feature::AliasSpecs, "aliasSpecs"),
    (Feature::DeletedWith, "deletedWith"),
    (Feature::ReplaceWith, "replaceWith"),
    (Feature::ReplacementTrigger, "replacementTrigger"),
    (Feature::InvokeDependsOn, "invokeDependsOn"),
    (Feature::InvokeParent, "invokeParent"),
];

/// What a program may know of its deployment.
pub(crate) struct Deployment {
    pub(crate) project: String,
    pub(crate) stack: String,
    pub(crate) organization: String,
    /// Values in clear, `namespace:key` to text; what is no string is JSON.
    pub(crate) config: Secret<BTreeMap<String, String>>,
    pub(crate) secret_keys: Vec<String>,
    pub(crate) parallel: u32,
    /// Whether independent resources go on after one failed.
    pub(crate) continue_on_error: bool,
}

/// One run of a program, as its services see it.
pub(crate) struct Run {
    pub(crate) monitor: Arc<dyn Monitor>,
    pub(crate) deployment: Arc<Deployment>,
    pub(crate) folders: Arc<Folders>,
    pub(crate) sources: Arc<SourceFiles>,
    pub(crate) progress: Arc<Progress>,
    /// Cancelled when the run is over, deletes included: the program may end.
    pub(crate) released: CancellationToken,
}

impl Run {
    /// Refuses what comes after the program said that it was complete.
    fn open(&self) -> Result<(), Status> {
        if self.progress.is_signalled() {
            return Err(Status::failed_precondition(
                "the program said already that it has registered everything",
            ));
        }
        Ok(())
    }

    /// Whether a program is to go on after a failed resource. A preview always does, to name
    /// every mistake.
    fn goes_on(&self) -> bool {
        self.deployment.continue_on_error || self.monitor.is_preview()
    }

    /// The answer to a request whose step failed. When the run ends here, the program gets the
    /// one answer that SDKs take for "stop without a word": the user was told already.
    fn failure(&self, error: &MonitorError) -> Status {
        self.progress.tell();
        match error {
            MonitorError::Failed(message) if self.goes_on() => Status::unknown(message),
            MonitorError::Failed(_) | MonitorError::Stopped => {
                self.progress.stop();
                Status::unavailable("the run was stopped")
            }
        }
    }

    async fn settle(&self, properties: PropertyMap) -> Result<PropertyMap, Status> {
        let settled = self.folders.settle(properties).await;
        settled.map_err(|error| Status::invalid_argument(error.to_string()))
    }

    fn invalid(&self, error: &request::RequestError) -> Status {
        if let request::RequestError::Unsupported(_, what) = error {
            self.progress.refuse(*what);
        }
        Status::invalid_argument(error.to_string())
    }

    fn caller(&self, metadata: &MetadataMap) -> Caller<'_> {
        let is = |key: &str, test: fn(&str) -> bool| {
            metadata
                .get(key)
                .and_then(|v| v.to_str().ok())
                .is_some_and(test)
        };
        Caller {
            nodejs: is("pulumi-runtime", |v| v == "nodejs")
                || is("user-agent", |v| v.starts_with("grpc-node-js/")),
            sources: &self.sources,
        }
    }
}

/// What SDKs say when a feature that a program uses is not advertised stands between these.
const SDK_REFUSAL: (&str, &str) = ("CLI does not support ", ". Please update");

/// What the SDK refused because it is not advertised; `None` for any other error of a program.
fn refused_by_sdk(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once(SDK_REFUSAL.0)?;
    rest.split_once(SDK_REFUSAL.1).map(|(what, _)| what)
}

/// The resource monitor.
pub(crate) struct MonitorService {
    run: Arc<Run>,
}

impl MonitorService {
    pub(crate) const fn new(run: Arc<Run>) -> Self {
        Self { run }
    }

    async fn register(
        &self,
        request: RegisterResourceRequest,
        caller: &Caller<'_>,
    ) -> Result<RegisterResourceResponse, Status> {
        let run = &self.run;
        if request.r#type == STACK_TYPE {
            // The engine registered it before the program started.
            return Ok(RegisterResourceResponse {
                urn: run.monitor.stack_urn().as_str().to_owned(),
                ..RegisterResourceResponse::default()
            });
        }
        let accepts = Accepts {
            secrets: request.accept_secrets,
            references: request.accept_resources,
        };
        let partial = request.supports_partial_values;
        let reports = request.supports_result_reporting;
        let custom = request.custom;
        let mut registration =
            request::registration(request, caller).map_err(|e| run.invalid(&e))?;
        registration.inputs = run.settle(registration.inputs).await?;
        let urn = Urn::new(
            &run.deployment.stack,
            &run.deployment.project,
            registration.options.parent.as_ref(),
            &registration.type_token,
            &registration.name,
        );
        match run.monitor.register(registration).await {
            Ok(registered) => Ok(registered_response(&registered, custom, accepts, partial)),
            Err(MonitorError::Failed(_)) if reports && run.goes_on() => {
                run.progress.tell();
                Ok(RegisterResourceResponse {
                    urn: urn.as_str().to_owned(),
                    result: Outcome::Fail.into(),
                    ..RegisterResourceResponse::default()
                })
            }
            Err(error) => Err(run.failure(&error)),
        }
    }
}

fn urn_text(registered: &Registered) -> String {
    let urn = registered.urn.as_ref();
    urn.map_or_else(String::new, |urn| urn.as_str().to_owned())
}

fn registered_response(
    registered: &Registered,
    custom: bool,
    accepts: Accepts,
    partial: bool,
) -> RegisterResourceResponse {
    let mut object = prost_types::Struct::default();
    if custom {
        let kept = registered.outputs.iter();
        object.fields = kept
            .filter(|(_, value)| partial || !value.contains_unknown())
            .map(|(name, value)| (name.clone(), wire::encode_value(value, accepts)))
            .collect();
    }
    RegisterResourceResponse {
        urn: urn_text(registered),
        id: registered.id.clone(),
        object: Some(object),
        ..RegisterResourceResponse::default()
    }
}

#[tonic::async_trait]
impl ResourceMonitor for MonitorService {
    async fn get_deployment_info(
        &self,
        _: Request<()>,
    ) -> Result<Response<DeploymentInfo>, Status> {
        let deployment = &self.run.deployment;
        Ok(Response::new(DeploymentInfo {
            project: deployment.project.clone(),
            stack: deployment.stack.clone(),
            organization: deployment.organization.clone(),
            config: deployment.config.expose().clone().into_iter().collect(),
            config_secret_keys: deployment.secret_keys.clone(),
            dry_run: self.run.monitor.is_preview(),
            parallel: deployment.parallel.try_into().unwrap_or(i32::MAX),
            supported_features: FEATURES
                .iter()
                .map(|(feature, _)| (*feature).into())
                .collect(),
        }))
    }

    async fn supports_feature(
        &self,
        request: Request<SupportsFeatureRequest>,
    ) -> Result<Response<SupportsFeatureResponse>, Status> {
        let id = request.into_inner().id;
        Ok(Response::new(SupportsFeatureResponse {
            has_support: FEATURES.iter().any(|(_, name)| *name == id),
        }))
    }

    async fn invoke(
        &self,
        request: Request<ResourceInvokeRequest>,
    ) -> Result<Response<ResourceInvokeResponse>, Status> {
        let run = &self.run;
        run.open()?;
        let request = request.into_inner();
        let accepts = Accepts {
            secrets: true,
            references: request.accept_resources || request.tok == "pulumi:pulumi:getResource",
        };
        let mut invocation = request::invocation(request).map_err(|e| run.invalid(&e))?;
        invocation.args = run.settle(invocation.args).await?;
        match run.monitor.invoke(invocation).await {
            Ok(Some(result)) => Ok(Response::new(ResourceInvokeResponse {
                r#return: Some(wire::encode(&result, accepts)),
                ..ResourceInvokeResponse::default()
            })),
            Ok(None) => Ok(Response::new(ResourceInvokeResponse {
                r#return: Some(prost_types::Struct::default()),
                unknown: true,
                ..ResourceInvokeResponse::default()
            })),
            // The program may live without the answer, so the run goes on.
            Err(MonitorError::Failed(message)) => Err(Status::unknown(message)),
            Err(MonitorError::Stopped) => Err(run.failure(&MonitorError::Stopped)),
        }
    }

    async fn read_resource(
        &self,
        request: Request<ReadResourceRequest>,
    ) -> Result<Response<ReadResourceResponse>, Status> {
        let run = &self.run;
        run.open()?;
        let (metadata, _, request) = request.into_parts();
        let caller = run.caller(&metadata);
        let accepts = Accepts {
            secrets: request.accept_secrets,
            references: request.accept_resources,
        };
        let mut resource = request::read(request, &caller).map_err(|e| run.invalid(&e))?;
        resource.inputs = run.settle(resource.inputs).await?;
        match run.monitor.read(resource).await {
            Ok(read) => Ok(Response::new(ReadResourceResponse {
                urn: urn_text(&read),
                properties: Some(wire::encode(&read.outputs, accepts)),
                id: read.id,
                ..ReadResourceResponse::default()
            })),
            Err(error) => Err(run.failure(&error)),
        }
    }

    async fn register_resource(
        &self,
        request: Request<RegisterResourceRequest>,
    ) -> Result<Response<RegisterResourceResponse>, Status> {
        self.run.open()?;
        let (metadata, _, request) = request.into_parts();
        let caller = self.run.caller(&metadata);
        self.register(request, &caller).await.map(Response::new)
    }

    async fn register_resource_outputs(
        &self,
        request: Request<RegisterResourceOutputsRequest>,
    ) -> Result<Response<()>, Status> {
        let run = &self.run;
        run.open()?;
        let request = request.into_inner();
        let malformed = |error: &dyn std::fmt::Display| {
            Status::invalid_argument(format!("outputs of `{}`: {error}", request.urn))
        };
        let urn = Urn::parse(&request.urn).map_err(|e| malformed(&e))?;
        let outputs = wire::decode(request.outputs, &mut |_, _| {}).map_err(|e| malformed(&e))?;
        let outputs = run.settle(outputs).await?;
        let outcome = run.monitor.register_outputs(urn, outputs).await;
        outcome.map_err(|error| run.failure(&error))?;
        Ok(Response::new(()))
    }

    async fn signal_and_wait_for_shutdown(&self, _: Request<()>) -> Result<Response<()>, Status> {
        if !self.run.progress.signal() {
            return Err(Status::failed_precondition(
                "the program said already that it has registered everything",
            ));
        }
        self.run.released.cancelled().await;
        Ok(Response::new(()))
    }
}

/// What a program says, and its root resource.
pub(crate) struct EngineService {
    run: Arc<Run>,
    root: Mutex<Option<String>>,
}

impl EngineService {
    pub(crate) const fn new(run: Arc<Run>) -> Self {
        let root = Mutex::new(None);
        Self { run, root }
    }
}

#[tonic::async_trait]
impl Engine for EngineService {
    async fn log(&self, request: Request<LogRequest>) -> Result<Response<()>, Status> {
        let request = request.into_inner();
        let severity = match request.severity() {
            // Several per resource: nearly all of the traffic, and nobody reads them.
            LogSeverity::Debug => return Ok(Response::new(())),
            LogSeverity::Info => Severity::Info,
            LogSeverity::Warning => Severity::Warning,
            LogSeverity::Error => Severity::Error,
        };
        if severity == Severity::Error {
            if self.run.progress.is_stopped() {
                // What a program says about requests that were stopped is no news.
                return Ok(Response::new(()));
            }
            self.run.progress.tell();
            if let Some(what) = refused_by_sdk(&request.message) {
                self.run.progress.refuse(what);
            }
        }
        let urn = Urn::parse(&request.urn).ok();
        self.run.monitor.log(severity, urn, request.message);
        Ok(Response::new(()))
    }

    async fn get_root_resource(
        &self,
        _: Request<GetRootResourceRequest>,
    ) -> Result<Response<GetRootResourceResponse>, Status> {
        let urn = self.root.lock().clone();
        Ok(Response::new(GetRootResourceResponse {
            urn: urn.unwrap_or_default(),
        }))
    }

    async fn set_root_resource(
        &self,
        request: Request<SetRootResourceRequest>,
    ) -> Result<Response<SetRootResourceResponse>, Status> {
        *self.root.lock() = Some(request.into_inner().urn);
        Ok(Response::new(SetRootResourceResponse {}))
    }
}

/// Config as programs take it: text by key, and which keys are secret.
pub(crate) fn config_texts(config: &PropertyMap) -> (BTreeMap<String, String>, Vec<String>) {
    let mut texts = BTreeMap::new();
    let mut secret_keys = Vec::new();
    for (key, value) in config {
        if value.contains_secret() {
            secret_keys.push(key.clone());
        }
        let text = match value.unsecret() {
            Value::String(text) => text.clone(),
            other => json(other).to_string(),
        };
        texts.insert(key.clone(), text);
    }
    (texts, secret_keys)
}

fn json(value: &Value) -> serde_json::Value {
    match value.unsecret() {
        Value::Bool(value) => (*value).into(),
        Value::Number(value) if value.fract() == 0.0 && value.abs() < MAX_EXACT => {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "checked to be a whole number"
            )]
            let whole = *value as i64;
            whole.into()
        }
        Value::Number(value) => (*value).into(),
        Value::String(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(map) => map.iter().map(|(k, v)| (k.clone(), json(v))).collect(),
        _ => serde_json::Value::Null,
    }
}

/// Whole numbers below this are exact in a 64-bit float.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
