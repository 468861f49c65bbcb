//! `cargo xtask bench ai`: CPU of the gateway per chat completion with key, tokens, price and a
//! journaled row, from the kernel's own accounting of its worker threads.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lockgate_testkit::vendor::Vendor;
use lockgate_testkit::{example, http};
use serde_json::json;

use super::median;
use crate::{build, root};

/// Requests of one round, over kept connections.
const REQUESTS: u64 = 20_000;
const CONNECTIONS: u64 = 4;
/// Rounds whose median is reported; one more warms up.
const ROUNDS: usize = 5;
/// Most CPU per completion, in microseconds.
const LIMIT_US: f64 = 30.0;
/// Bytes of the prompt: the whole body is about 0.8 KB.
const PROMPT_BYTES: usize = 700;
/// Words of the answer: its body is about 1 KB.
const WORDS: u64 = 200;

/// Measures and prints.
pub(crate) fn run() -> Result<()> {
    let exe = build(true)?;
    let vendor = Vendor::start(Duration::ZERO)?;
    let world = example::ai_world(&exe, &root()?.join("examples/ai"), &vendor)?;
    world.run(&["up", "--yes"])?.expect(0)?;
    let (url, key) = example::endpoint(&world)?;
    let address = url.trim_start_matches("http://").split('/').next();
    let address = address.context("a URL without an address")?;
    let status = ["node", "status", "--json"];
    let status = world.run(&status)?.expect(0)?.json()?;
    let pid = status["pid"].as_u64().context("no pid")?;
    let mut workers = Vec::new();
    let mut others = Vec::new();
    for round in 0..=ROUNDS {
        let before = cpu(pid)?;
        load(address, &key)?;
        let after = cpu(pid)?;
        if round > 0 {
            let per = |from: u64, to: u64| (to - from) as f64 / 1000.0 / REQUESTS as f64;
            workers.push(per(before.0, after.0));
            others.push(per(before.1, after.1));
        }
    }
    let (worker, other) = (median(&workers), median(&others));
    let mark = if worker <= LIMIT_US { "" } else { " **over**" };
    println!("| figure | median | limit |\n|---|---|---|");
    println!("| gateway CPU per completion | {worker:.1} µs{mark} | {LIMIT_US} µs |");
    println!("| rest of the node, mostly rows into SQL | {other:.1} µs | – |");
    println!("rounds: {workers:.1?}");
    world.run(&["destroy", "--yes"])?.expect(0)?;
    world.close()
}

/// CPU time in nanoseconds of the gateway's workers and of all other threads.
fn cpu(pid: u64) -> Result<(u64, u64)> {
    let (mut workers, mut others) = (0, 0);
    for task in fs_err::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        let name = fs_err::read_to_string(task.join("comm"))?;
        let stat = fs_err::read_to_string(task.join("schedstat"))?;
        let spent: u64 = stat.split(' ').next().unwrap_or_default().parse()?;
        match name.trim() {
            "gateway-worker" => workers += spent,
            _ => others += spent,
        }
    }
    Ok((workers, others))
}

fn load(address: &str, key: &str) -> Result<()> {
    let body = json!({"model": "fast", "max_tokens": WORDS,
        "messages": [{"role": "user", "content": "x".repeat(PROMPT_BYTES)}]});
    let (body, bearer) = (body.to_string(), format!("Bearer {key}"));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    let mut client = http::Client::connect(address)?;
                    for _ in 0..REQUESTS / CONNECTIONS {
                        let headers = [
                            ("authorization", bearer.as_str()),
                            ("content-type", "application/json"),
                        ];
                        let answer = client.post("/v1/chat/completions", &headers, &body)?;
                        ensure!(answer.status == 200, "{answer:?}");
                    }
                    Ok(())
                })
            })
            .collect();
        for client in clients {
            client
                .join()
                .map_err(|_| anyhow::anyhow!("a client panicked"))??;
        }
        Ok(())
    })
}
