//! Function calls of a program.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_engine::source::{
    Invocation, InvokeOutcome, MonitorError, Registration, ResourceOptions, SourceError,
};
use lockgate_engine::{Monitor, Operation, Source};
use lockgate_model::{PropertyMap, Urn, Value};
use parking_lot::Mutex;

use crate::program::Stack;

/// Registers a component with a child, then calls functions, each waiting for something.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<Result<InvokeOutcome, String>>>>);

fn registration(type_token: &str, name: &str, parent: Option<&Urn>) -> Registration {
    Registration {
        type_token: type_token.to_owned(),
        name: name.to_owned(),
        custom: type_token.starts_with("test:"),
        options: ResourceOptions {
            parent: parent.cloned(),
            ..ResourceOptions::default()
        },
        ..Registration::default()
    }
}

fn args(name: &str, value: impl Into<Value>) -> PropertyMap {
    [(name.to_owned(), value.into())].into()
}

#[async_trait]
impl Source for Calls {
    async fn run(&mut self, monitor: Arc<dyn Monitor>) -> Result<(), SourceError> {
        let stopped = |_: MonitorError| SourceError::Stopped;
        let web = monitor
            .register(registration("my:index:Web", "web", None))
            .await
            .map_err(stopped)?;
        let child = registration("test:index:Res", "child", web.urn.as_ref());
        let child = monitor.register(child).await.map_err(stopped)?;
        let child_urn = child.urn.clone().map(|urn| urn.to_string());
        let calls = [
            ("test:index:echo", args("x", 1.0), None),
            ("test:index:echo", args("x", 2.0), child.urn.clone()),
            ("test:index:echo", args("x", 3.0), web.urn.clone()),
            ("test:index:echo", args("bad", 1.0), None),
            (
                "pulumi:pulumi:getResource",
                args("urn", child_urn.unwrap_or_default()),
                None,
            ),
            ("pulumi:pulumi:getResource", args("urn", "nobody"), None),
        ];
        for (function, args, wait) in calls {
            let invocation = Invocation {
                function: function.to_owned(),
                args,
                depends_on: wait.into_iter().collect(),
                ..Invocation::default()
            };
            let answer = monitor.invoke(invocation).await;
            self.0
                .lock()
                .push(answer.map_err(|error| error.to_string()));
        }
        Ok(())
    }
}

async fn answers(stack: &Stack, operation: Operation) -> Vec<Result<InvokeOutcome, String>> {
    let calls = Calls::default();
    let ran = stack
        .start_source(operation, Some(Box::new(calls.clone())))
        .await;
    // A failed call is told, and the program may live with it.
    assert_eq!(ran.errors(), ["LG0260", "LG0260"]);
    ran.good();
    std::mem::take(&mut *calls.0.lock())
}

#[tokio::test]
async fn calls_wait_in_a_preview_for_what_is_still_to_be_created() {
    let stack = Stack::default();
    let preview = answers(&stack, Operation::Preview).await;
    assert_eq!(preview[0], Ok(Some(args("x", 1.0))));
    assert_eq!(preview[1], Ok(None), "the child does not exist yet");
    assert_eq!(preview[2], Ok(None), "nor does everything in the component");

    let up = answers(&stack, Operation::Up).await;
    assert_eq!(up[1], Ok(Some(args("x", 2.0))));
    assert_eq!(up[2], Ok(Some(args("x", 3.0))));
    assert_eq!(
        up[3],
        Err("`test:index:echo` refused its arguments".to_owned())
    );
    let Ok(Some(found)) = &up[4] else {
        panic!("getResource finds the child");
    };
    assert_eq!(found["id"], "id-1".into());
    assert_eq!(up[5], Err("`nobody` is no resource of this run".to_owned()));
}
