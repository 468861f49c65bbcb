//! What keeps services true between rollouts: restarts, health, and the start of a node.

use std::time::Duration;

use lockgate_control::Services;
use lockgate_model::ServiceId;
use lockgate_model::Timestamp;
use lockgate_model::record::RequestRecord;
use lockgate_model::service::ServicePhase;
use lockgate_store::Store as _;
use tokio::sync::mpsc;

use crate::world::{Event, Node, WEB, World, caller, service};

fn web() -> ServiceId {
    ServiceId::parse(WEB).unwrap()
}

fn starts(events: &[Event]) -> usize {
    let start = |event: &&Event| matches!(event, Event::Start { .. });
    events.iter().filter(start).count()
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_keeps_failing_is_restarted_with_growing_waits() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let node = Node::start(&world, folder.path()).await;
    node.apply(service("ok", "a")).await.unwrap();
    node.apply_route("shop/dev/r", &web().endpoint())
        .await
        .unwrap();
    *world.mode.lock() = Some("crash");
    world.kill(&world.running()[0]);
    world
        .until("five restarts", |events| starts(events) == 6)
        .await;

    let events = world.timed_events();
    let times = events
        .iter()
        .filter(|(_, e)| matches!(e, Event::Start { .. }));
    let times: Vec<Duration> = times.map(|(at, _)| *at).collect();
    let waits: Vec<u128> = times
        .windows(2)
        .skip(1)
        .map(|w| (w[1] - w[0]).as_millis())
        .collect();
    assert!(waits[0] >= 1000 && waits[0] < 1100, "{waits:?}");
    for pair in waits.windows(2) {
        assert!(
            pair[1] >= pair[0] * 19 / 10,
            "the waits do not double: {waits:?}"
        );
    }
    // Nothing got traffic meanwhile, and the status says so.
    let last = world
        .events()
        .into_iter()
        .rfind(|e| matches!(e, Event::Table(_)));
    assert_eq!(last, Some(Event::Table(Some(Vec::new()))));
    let status = node.control.find_service(&web()).unwrap();
    assert_eq!(status.phase, ServicePhase::Degraded);

    *world.mode.lock() = None;
    world
        .until("traffic is back", |events| {
            matches!(events.last(), Some(Event::Table(Some(endpoints))) if endpoints.len() == 1)
        })
        .await;
    let status = node.control.find_service(&web()).unwrap();
    assert_eq!(
        (status.phase, status.instances[0].restarts),
        (ServicePhase::Healthy, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn an_unhealthy_instance_gets_no_traffic_until_it_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let node = Node::start(&world, folder.path()).await;
    let mut spec = service("ok", "a");
    spec.replicas = 2;
    node.apply(spec).await.unwrap();
    node.apply_route("shop/dev/r", &web().endpoint())
        .await
        .unwrap();
    let ids = world.running();
    let (well, both) = (world.endpoint(&ids[1]), 2);
    let since = world.timed_events().last().unwrap().0;
    world.set_sick(&ids[0], true);
    let only_well = Event::Table(Some(vec![well]));
    world
        .until("it is out", |events| events.last() == Some(&only_well))
        .await;
    let out = world.timed_events().last().unwrap().0 - since;
    assert!(
        out >= Duration::from_secs(2) && out <= Duration::from_secs(4),
        "{out:?}"
    );
    world.set_sick(&ids[0], false);
    world
        .until("it is back", |events| {
            matches!(events.last(), Some(Event::Table(Some(endpoints))) if endpoints.len() == both)
        })
        .await;
    assert_eq!(world.running(), ids, "an unhealthy instance was restarted");
}

#[tokio::test(start_paused = true)]
async fn a_killed_node_adopts_what_runs_and_restarts_what_died() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let node = Node::start(&world, folder.path()).await;
    let mut spec = service("ok", "a");
    spec.replicas = 2;
    node.apply(spec.clone()).await.unwrap();
    node.apply_route("shop/dev/r", &web().endpoint())
        .await
        .unwrap();
    let ids = world.running();
    let before = node.control.gateway_spec().version;
    node.die();
    world.kill(&ids[0]);
    let events = world.events().len();

    let node = Node::start(&world, folder.path()).await;
    world
        .until("both serve again", |seen| {
            let last = seen[events..].last();
            matches!(last, Some(Event::Table(Some(endpoints))) if endpoints.len() == 2)
        })
        .await;
    assert!(
        node.control.gateway_spec().version > before,
        "a version was given twice"
    );
    let since = &world.events()[events..];
    let survivor = Event::Table(Some(vec![world.endpoint(&ids[1])]));
    assert_eq!(
        since[0], survivor,
        "the survivor did not serve from the first table on"
    );
    assert_eq!(starts(since), 1);
    world
        .until("the dead one is cleared", |_| {
            !world.running().contains(&ids[0])
        })
        .await;
    assert!(world.running().contains(&ids[1]));
    // The stored spec has its secrets again, so the same wish is still no change.
    assert_eq!(node.apply(spec).await.unwrap().generation, 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_killed_during_a_rollout_goes_on_with_the_old_version() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let node = Node::start(&world, folder.path()).await;
    node.apply(service("ok", "a")).await.unwrap();
    node.apply_route("shop/dev/r", &web().endpoint())
        .await
        .unwrap();
    let old = world.running().remove(0);
    let control = std::sync::Arc::clone(&node.control);
    let (progress, _lines) = mpsc::channel(8);
    tokio::spawn(async move {
        let spec = service("slow", "b");
        control.apply_service(caller(), spec, progress).await
    });
    world
        .until("the new one starts", |events| starts(events) == 2)
        .await;
    node.die();

    let node = Node::start(&world, folder.path()).await;
    world
        .until("the stray is stopped", |_| world.running() == [old.clone()])
        .await;
    let status = node.control.find_service(&web()).unwrap();
    assert_eq!(
        (status.generation, status.instances[0].id.clone()),
        (1, old)
    );
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_per_route_and_saved_at_the_latest_when_closing() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let node = Node::start(&world, folder.path()).await;
    for (status, millis) in [(200, 2), (503, 40_000)] {
        let record = RequestRecord {
            id: "r".into(),
            at: Timestamp::from_secs(1_800_000_061),
            table_version: 1,
            route: Some("shop/dev/r".into()),
            consumer: None,
            api_key: None,
            method: "GET".into(),
            host: "h".into(),
            path: "/".into(),
            status,
            failure: None,
            upstream: None,
            attempts: 1,
            request_bytes: 0,
            response_bytes: 0,
            first_byte: Duration::ZERO,
            total: Duration::from_millis(millis),
            client: "c".into(),
        };
        node.records.send(record).await.unwrap();
    }
    node.control.close(Services::Keep).await;
    let found = node.store.find_rollups("shop/dev/r", 0, 10).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].minute, 1_800_000_061 / 60);
    assert_eq!((found[0].requests, found[0].errors), (2, 1));
    assert_eq!(found[0].latency, [0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
}
