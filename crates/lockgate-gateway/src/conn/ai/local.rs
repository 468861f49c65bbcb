//! What an AI route answers by itself: its models.

use crate::conn::plan::{Plan, put_field};
use crate::conn::{Conn, Outcome};
use crate::failure::{Failure, Kind};
use crate::h1::write::{put_number, put_quoted};
use crate::io::{Link, write_both};
use crate::table::ai::AiRoute;
use crate::trace::Trace;

/// Lists the models of the route, as the OpenAI API does.
pub(super) async fn models<L: Link>(
    conn: &mut Conn<L>,
    plan: &Plan,
    trace: &mut Trace,
    route: &AiRoute,
) -> Result<Outcome, Failure> {
    let mut body = b"{\"object\":\"list\",\"data\":[".to_vec();
    for (n, alias) in route.models.keys().enumerate() {
        if n > 0 {
            body.push(b',');
        }
        put_model(alias, &mut body);
    }
    body.extend_from_slice(b"]}");
    answer(conn, plan, trace, &body).await
}

/// Shows one model.
pub(super) async fn find_model<L: Link>(
    conn: &mut Conn<L>,
    plan: &Plan,
    trace: &mut Trace,
    route: &AiRoute,
    alias: &str,
) -> Result<Outcome, Failure> {
    let model = super::find(route, alias)?;
    let mut body = Vec::new();
    put_model(&model.alias, &mut body);
    answer(conn, plan, trace, &body).await
}

fn put_model(alias: &str, body: &mut Vec<u8>) {
    body.extend_from_slice(b"{\"id\":");
    put_quoted(body, alias);
    body.extend_from_slice(b",\"object\":\"model\",\"created\":0,\"owned_by\":\"lockgate\"}");
}

async fn answer<L: Link>(
    conn: &mut Conn<L>,
    plan: &Plan,
    trace: &mut Trace,
    body: &[u8],
) -> Result<Outcome, Failure> {
    super::body::read(conn, plan, trace).await?;
    let keep = plan.keep_alive && !conn.core.is_draining();
    trace.status = 200;
    trace.response_bytes = body.len() as u64;
    let date = conn.core.date(trace.at);
    let out = &mut conn.out;
    out.clear();
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    put_field(out, b"date", &date);
    put_field(out, b"content-type", b"application/json");
    put_field(out, b"x-request-id", &trace.id);
    if !keep {
        put_field(out, b"connection", b"close");
    }
    out.extend_from_slice(b"content-length: ");
    put_number(out, body.len() as u64);
    out.extend_from_slice(b"\r\n\r\n");
    conn.timer
        .set_within(conn.core.shared.limits.body_idle, plan.deadline);
    let sent = write_both(&mut conn.link, &mut conn.timer, &conn.out, body).await;
    match sent {
        Ok(()) => Ok(Outcome::Done { keep }),
        Err(_) => Ok(Outcome::Cut(Kind::Gone.into())),
    }
}
