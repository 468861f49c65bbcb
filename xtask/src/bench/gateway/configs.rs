//! The files of one bench run: upstream, reference and peer (gateway guide, section 5.2).

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use crate::bench::servers::nginx_head;

/// The files of gateway.md, section 5.2.
pub(super) fn write_configs(
    at: &Path,
    up: SocketAddr,
    plain: SocketAddr,
    policy: SocketAddr,
) -> Result<()> {
    let keep = "keepalive_requests 100000000; keepalive_timeout 600s;";
    let upstream = format!("upstream u {{ server {up}; keepalive 256; {keep} }}");
    let pass = "proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection \"\";";
    let write = |name: &str, text: String| fs_err::write(at.join(name), text);
    let body = "x".repeat(1024);
    write(
        "up.conf",
        format!(
            "{}http {{ access_log off; {keep}\n server {{ listen {up} reuseport backlog=8192;\n\
             location = /svc042/1m {{ alias {}/1m.bin; }}\n\
             location / {{ default_type application/json; return 200 \"{body}\"; }} }} }}\n",
            nginx_head("up"),
            at.display()
        ),
    )?;
    write(
        "plain.conf",
        format!(
            "{}http {{ server_tokens off; tcp_nodelay on; access_log off; {keep}\n {upstream}\n\
             server {{ listen {plain} reuseport backlog=8192; location / {{ {pass} }} }} }}\n",
            nginx_head("plain")
        ),
    )?;
    write(
        "policy.conf",
        format!(
            "{}http {{ server_tokens off; tcp_nodelay on; {keep}\n\
             map_hash_max_size 65536; map_hash_bucket_size 128;\n\
             map $http_x_api_key $consumer {{ default \"\"; include keys.map; }}\n\
             limit_req_zone $consumer zone=k:10m rate=100000r/s;\n\
             log_format a '$remote_addr $consumer $msec \"$request_uri\" $status $body_bytes_sent $request_time $upstream_response_time $request_id';\n\
             access_log {}/access.log a buffer=64k flush=1s;\n {upstream}\n\
             server {{ listen {policy} reuseport backlog=8192; include routes.conf; }} }}\n",
            nginx_head("policy"),
            at.display()
        ),
    )?;
    write(
        "route.conf",
        format!(
            "if ($consumer = \"\") {{ return 401; }}\n\
             limit_req zone=k burst=100000 nodelay; limit_req_status 429;\n{pass}\n\
             proxy_set_header X-Api-Key \"\"; proxy_set_header X-Consumer-Id $consumer; proxy_set_header X-Request-Id $request_id;\n\
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header Host $host;\n\
             add_header X-Request-Id $request_id;\n"
        ),
    )?;
    let mut keys = String::new();
    for n in 0..10_000 {
        let _ = writeln!(keys, "\"key-{n:06}-abcdefghijklmnop\" \"consumer-{n:06}\";");
    }
    write("keys.map", keys)?;
    let mut routes = String::new();
    for n in 0..100 {
        let _ = writeln!(routes, "location /svc{n:03}/ {{ include route.conf; }}");
    }
    write("routes.conf", routes)?;
    fs_err::write(at.join("1m.bin"), vec![0; 1 << 20])?;
    Ok(())
}
