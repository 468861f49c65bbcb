//! Rollouts: the old version serves until the new one is healthy and the table points to it.

use lockgate_control::{ControlError, Services};
use lockgate_diag::codes;
use lockgate_model::ServiceId;
use lockgate_model::service::ServicePhase;
use tokio::sync::mpsc;

use crate::world::{Event, Node, WEB, World, caller, service};

fn web() -> ServiceId {
    ServiceId::parse(WEB).unwrap()
}

fn tables(events: &[Event]) -> Vec<usize> {
    let count = |event: &Event| match event {
        Event::Table(Some(endpoints)) => Some(endpoints.len()),
        _ => None,
    };
    events.iter().filter_map(count).collect()
}

/// A node that serves version `a` of the web service on a route.
async fn serving(world: &std::sync::Arc<World>, folder: &std::path::Path) -> (Node, String) {
    let node = Node::start(world, folder).await;
    node.apply(service("ok", "a")).await.unwrap();
    node.apply_route("shop/dev/r", &web().endpoint())
        .await
        .unwrap();
    let old = world.running().remove(0);
    (node, old)
}

#[tokio::test(start_paused = true)]
async fn old_version_serves_until_new_is_healthy() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let (node, old) = serving(&world, folder.path()).await;
    let status = node.apply(service("slow", "b")).await.unwrap();
    assert_eq!(
        (status.phase, status.generation),
        (ServicePhase::Healthy, 2)
    );
    let new = status.instances[0].id.clone();
    let old_endpoint = world.endpoint(&old);
    let new_endpoint = world.endpoint(&new);
    world
        .until("the old instance stops", |events| {
            events.contains(&Event::Stop { id: old.clone() })
        })
        .await;

    let events = world.timed_events();
    let at = |event: Event| events.iter().find(|(_, e)| *e == event).unwrap().0;
    let started = at(Event::Start {
        id: new.clone(),
        generation: 2,
    });
    let switched = at(Event::Table(Some(vec![new_endpoint.clone()])));
    let stopped = at(Event::Stop { id: old });
    assert!(
        (switched - started).as_secs_f64() >= 2.0,
        "switched before it was healthy"
    );
    assert!(
        (stopped - switched).as_secs_f64() >= 5.0,
        "stopped before it was drained"
    );
    let served: Vec<_> = events.into_iter().map(|(_, event)| event).collect();
    let served = served
        .into_iter()
        .filter(|e| matches!(e, Event::Table(Some(_))));
    assert_eq!(
        served.collect::<Vec<_>>(),
        [
            Event::Table(Some(vec![old_endpoint])),
            Event::Table(Some(vec![new_endpoint]))
        ]
    );
    assert_eq!(world.running(), [new]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_rollout_keeps_the_old_version_and_says_why() {
    for (mode, cause) in [
        ("crash", "an instance exited with 3"),
        (
            "sick",
            "an instance was not healthy within 10 s: status 500",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new();
        let (node, old) = serving(&world, folder.path()).await;
        let mut spec = service(mode, "b");
        spec.replicas = 2;
        let error = node.apply(spec).await.unwrap_err();
        let ControlError::Rollout(found) = error else {
            panic!("another error: {error:?}");
        };
        assert_eq!(found.code, codes::store::ROLLOUT_FAILED);
        assert_eq!(found.causes, [cause, "boom of shop/dev/web"]);
        assert!(found.message.ends_with("the old version serves on"));
        assert_eq!(world.running(), [old]);
        assert_eq!(tables(&world.events()), [1], "traffic was touched");
        let status = node.control.find_service(&web()).unwrap();
        assert_eq!(
            (status.phase, status.generation),
            (ServicePhase::Healthy, 1)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_version_that_fails_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let node = Node::start(&world, folder.path()).await;
    let error = node.apply(service("crash", "a")).await.unwrap_err();
    assert!(matches!(error, ControlError::Rollout(_)), "{error:?}");
    assert_eq!(world.running(), Vec::<String>::new());
    assert_eq!(node.control.find_service(&web()), None);
}

#[tokio::test(start_paused = true)]
async fn a_lost_race_for_a_port_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let node = Node::start(&world, folder.path()).await;
    let status = node.apply(service("port", "a")).await.unwrap();
    assert_eq!(status.phase, ServicePhase::Healthy);
    assert_eq!(world.running(), [status.instances[0].id.clone()]);
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_cannot_be_saved_is_undone() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let (node, old) = serving(&world, folder.path()).await;
    node.store
        .fails
        .store(true, std::sync::atomic::Ordering::SeqCst);
    let error = node.apply(service("ok", "b")).await.unwrap_err();
    assert!(matches!(error, ControlError::Store(_)), "{error:?}");
    assert_eq!(world.running(), std::slice::from_ref(&old));
    let back = Event::Table(Some(vec![world.endpoint(&old)]));
    assert_eq!(
        world
            .events()
            .iter()
            .rfind(|e| matches!(e, Event::Table(_))),
        Some(&back)
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_spec_again_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let (node, _) = serving(&world, folder.path()).await;
    let before = world.events();
    let status = node.apply(service("ok", "a")).await.unwrap();
    node.apply_route("shop/dev/r", &web().endpoint())
        .await
        .unwrap();
    assert_eq!(status.generation, 1);
    assert_eq!(world.events(), before);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_does_not_stop_the_rollout() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let (node, _) = serving(&world, folder.path()).await;
    let (progress, mut lines) = mpsc::channel(8);
    let spec = service("slow", "b");
    let mut apply = Box::pin(node.control.apply_service(caller(), spec, progress));
    tokio::select! {
        _ = &mut apply => panic!("it cannot be healthy yet"),
        line = lines.recv() => assert_eq!(line.unwrap(), "starting 1 instance(s)"),
    }
    drop(apply);
    world
        .until("the new version serves", |events| tables(events).len() == 2)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_removed_service_leaves_nothing_and_is_refused_while_routed_to() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let (node, _) = serving(&world, folder.path()).await;
    // The old version is still draining when the service is removed.
    node.apply(service("ok", "b")).await.unwrap();
    assert_eq!(world.running().len(), 2);
    let remove = || node.control.remove_service(caller(), web());
    let error = remove().await.unwrap_err();
    let ControlError::Conflict(found) = error else {
        panic!("another error: {error:?}");
    };
    assert_eq!(
        found.message,
        "the service `shop/dev/web` is still needed by route `shop/dev/r`"
    );
    let name = "shop/dev/r".to_owned();
    node.control.remove_route(caller(), name).await.unwrap();
    remove().await.unwrap();
    assert_eq!(world.running(), Vec::<String>::new());
    assert_eq!(node.control.services(), []);
    remove().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn closing_gives_a_rollout_up_and_keeps_or_stops_the_services() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let (node, old) = serving(&world, folder.path()).await;
    let control = std::sync::Arc::clone(&node.control);
    let (progress, mut lines) = mpsc::channel(8);
    let rollout = tokio::spawn(async move {
        let spec = service("sick", "b");
        control.apply_service(caller(), spec, progress).await
    });
    lines.recv().await.unwrap();
    node.control.close(Services::Keep).await;
    assert!(matches!(rollout.await.unwrap(), Err(ControlError::Closing)));
    assert_eq!(world.running(), [old]);
    let late = node.apply(service("ok", "c")).await;
    assert!(matches!(late, Err(ControlError::Closing)));

    let node = Node::start(&world, folder.path()).await;
    node.control.close(Services::Stop).await;
    assert_eq!(world.running(), Vec::<String>::new());
}
