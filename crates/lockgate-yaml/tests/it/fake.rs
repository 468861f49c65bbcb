//! A package with schemas, a monitor that answers by rule and keeps what it was asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use lockgate_diag::{Diagnostic, Severity, SourceFile};
use lockgate_engine::provider::{Provider, ProviderError};
use lockgate_engine::source::{
    Invocation, InvokeOutcome, MonitorError, ReadResource, Registered, Registration, SourceError,
};
use lockgate_engine::{Monitor, Providers, Source};
use lockgate_model::schema::{
    FunctionSchema, PackageSchema, PropertyKind, PropertySchema, ResourceSchema,
};
use lockgate_model::urn::STACK_TYPE;
use lockgate_model::{PropertyMap, Urn, Value};
use lockgate_yaml::{Checked, Context, Program, ProjectFiles, YamlSource, check};
use parking_lot::Mutex;

/// The packages `fake` and `docker`.
pub(crate) struct FakeProviders(BTreeMap<String, Arc<PackageSchema>>);

fn property(kind: PropertyKind) -> PropertySchema {
    PropertySchema {
        kind,
        ..PropertySchema::default()
    }
}

fn text() -> PropertyKind {
    PropertyKind::String { one_of: Vec::new() }
}

fn fake_package() -> PackageSchema {
    let required = |p: PropertySchema| PropertySchema {
        required: true,
        ..p
    };
    let inputs: BTreeMap<String, PropertySchema> = [
        ("name", property(text())),
        ("size", property(PropertyKind::Integer)),
        ("on", property(PropertyKind::Bool)),
        ("tags", property(PropertyKind::Map(Box::new(text())))),
        (
            "list",
            property(PropertyKind::List(Box::new(PropertyKind::Any))),
        ),
        ("any", property(PropertyKind::Any)),
        (
            "mode",
            property(PropertyKind::String {
                one_of: vec!["fast".into(), "slow".into()],
            }),
        ),
        (
            "password",
            PropertySchema {
                secret: true,
                ..property(text())
            },
        ),
        (
            "kind",
            PropertySchema {
                constant: Some(Value::from("web")),
                ..property(text())
            },
        ),
        (
            "health",
            property(PropertyKind::Object(
                [
                    ("path".to_owned(), required(property(text()))),
                    ("port".to_owned(), property(PropertyKind::Integer)),
                ]
                .into(),
            )),
        ),
    ]
    .into_iter()
    .map(|(name, p)| (name.to_owned(), p))
    .collect();
    let mut outputs = inputs.clone();
    outputs.insert("url".to_owned(), property(text()));
    let web = ResourceSchema {
        description: String::new(),
        inputs: inputs.clone(),
        outputs,
    };
    let mut db = web.clone();
    db.inputs
        .insert("engine".to_owned(), required(property(text())));
    let lookup = FunctionSchema {
        description: String::new(),
        inputs: [("key".to_owned(), required(property(text())))].into(),
        outputs: [
            ("value".to_owned(), property(text())),
            (
                "token".to_owned(),
                PropertySchema {
                    secret: true,
                    ..property(text())
                },
            ),
        ]
        .into(),
    };
    PackageSchema {
        name: "fake".into(),
        resources: [
            ("fake:index/web:Web".to_owned(), web),
            ("fake:data:Db".to_owned(), db),
        ]
        .into(),
        functions: [("fake:index/lookup:lookup".to_owned(), lookup)].into(),
        ..PackageSchema::default()
    }
}

impl Default for FakeProviders {
    fn default() -> Self {
        Self([("fake".to_owned(), Arc::new(fake_package()))].into())
    }
}

#[async_trait]
impl Providers for FakeProviders {
    fn schema(&self, package: &str) -> Option<Arc<PackageSchema>> {
        self.0.get(package).cloned()
    }

    fn packages(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    async fn configure(
        &self,
        _: &str,
        _: Option<&str>,
        _: &PropertyMap,
    ) -> Result<Arc<dyn Provider>, ProviderError> {
        Err(ProviderError::Unsupported("configure".into()))
    }
}

/// Keeps what a program asked for. Resources get the id `id-<name>` and their inputs as outputs,
/// plus `url`; in a preview ids and `url` are unknown. A name that begins with `fail` fails.
#[derive(Default)]
pub(crate) struct FakeMonitor {
    pub(crate) preview: bool,
    pub(crate) registered: Mutex<Vec<Registration>>,
    pub(crate) read: Mutex<Vec<ReadResource>>,
    pub(crate) invoked: Mutex<Vec<Invocation>>,
    pub(crate) outputs: Mutex<Option<PropertyMap>>,
    pub(crate) component_outputs: Mutex<Vec<(Urn, PropertyMap)>>,
    pub(crate) logs: Mutex<Vec<String>>,
}

pub(crate) fn urn(kind: &str, name: &str) -> Urn {
    Urn::new("dev", "shop", None, kind, name)
}

#[async_trait]
impl Monitor for FakeMonitor {
    async fn register(&self, registration: Registration) -> Result<Registered, MonitorError> {
        let name = registration.name.clone();
        let custom = registration.custom;
        let mut outputs = registration.inputs.clone();
        let parent = registration.options.parent.clone();
        let urn = Urn::new(
            "dev",
            "shop",
            parent.as_ref(),
            &registration.type_token,
            &name,
        );
        self.registered.lock().push(registration);
        // Others get a turn, so that a wrong order would show.
        tokio::task::yield_now().await;
        if custom && name.starts_with("fail") {
            return Err(MonitorError::Failed("scripted".into()));
        }
        if !custom {
            return Ok(Registered {
                urn: Some(urn),
                ..Registered::default()
            });
        }
        let url = if self.preview {
            Value::Unknown
        } else {
            Value::from(format!("http://{name}"))
        };
        outputs.insert("url".to_owned(), url);
        Ok(Registered {
            urn: Some(urn),
            id: if self.preview {
                String::new()
            } else {
                format!("id-{name}")
            },
            id_unknown: self.preview,
            outputs,
        })
    }

    async fn register_outputs(&self, urn: Urn, outputs: PropertyMap) -> Result<(), MonitorError> {
        if urn != self.stack_urn() {
            self.component_outputs.lock().push((urn, outputs));
            return Ok(());
        }
        assert!(
            self.outputs.lock().replace(outputs).is_none(),
            "outputs twice"
        );
        Ok(())
    }

    async fn read(&self, resource: ReadResource) -> Result<Registered, MonitorError> {
        let registered = Registered {
            urn: Some(urn(&resource.type_token, &resource.name)),
            id: resource.id.clone(),
            id_unknown: false,
            outputs: [(
                "outputs".to_owned(),
                Value::Map(
                    [
                        ("host".to_owned(), Value::from("h")),
                        ("key".to_owned(), Value::from("k").into_secret()),
                    ]
                    .into(),
                ),
            )]
            .into(),
        };
        self.read.lock().push(resource);
        Ok(registered)
    }

    async fn invoke(&self, invocation: Invocation) -> Result<InvokeOutcome, MonitorError> {
        let key = invocation
            .args
            .get("key")
            .map(ToString::to_string)
            .unwrap_or_default();
        self.invoked.lock().push(invocation);
        Ok(Some(
            [
                ("value".to_owned(), Value::from(format!("value of {key}"))),
                ("token".to_owned(), Value::from("t")),
            ]
            .into(),
        ))
    }

    fn log(&self, _: Severity, _: Option<Urn>, message: String) {
        self.logs.lock().push(message);
    }

    fn is_preview(&self) -> bool {
        self.preview
    }

    fn stack_urn(&self) -> Urn {
        urn(STACK_TYPE, "shop-dev")
    }
}

pub(crate) fn context(config: &[(&str, Value)]) -> Context {
    Context {
        project: "shop".into(),
        stack: "dev".into(),
        organization: "organization".into(),
        cwd: "/work/shop".into(),
        root: "/work/shop".into(),
        config: config
            .iter()
            .map(|(k, v)| ((*k).to_owned(), v.clone()))
            .collect(),
    }
}

/// Parses and checks a program; all diagnostics in the order of the text.
pub(crate) fn checked(text: &str, context: Context) -> (Option<Checked>, Vec<Diagnostic>) {
    let file = SourceFile::new("Pulumi.yaml", text);
    let (program, mut found) = Program::parse(&[file]);
    let mut result = None;
    if let Some(program) = program {
        let (checked, more) = check(program, &FakeProviders::default(), context);
        found.extend(more);
        result = checked;
    }
    found.sort_by_key(|d| d.labels.first().map(|l| l.span.start));
    if found.iter().any(Diagnostic::is_error) {
        result = None;
    }
    (result, found)
}

/// Runs a program that has no mistakes.
pub(crate) async fn run(
    text: &str,
    context: Context,
    monitor: FakeMonitor,
    root: &std::path::Path,
) -> (Arc<FakeMonitor>, Result<(), SourceError>) {
    let (checked, found) = checked(text, context);
    let checked = checked.unwrap_or_else(|| panic!("{found:#?}"));
    let files = Arc::new(ProjectFiles {
        root: root.to_path_buf(),
    });
    let monitor = Arc::new(monitor);
    let shared: Arc<dyn Monitor> = Arc::<FakeMonitor>::clone(&monitor);
    let result = YamlSource::new(checked, files).run(shared).await;
    (monitor, result)
}
