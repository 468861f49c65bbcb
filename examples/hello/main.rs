//! A small HTTP server: one thread per connection, keep-alive, no dependencies.
//!
//! It listens on 127.0.0.1 at the port in `PORT` and says who called and which version answered.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

const GREETING: &str = "hello";

fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").unwrap_or_else(|_| "8080".to_owned());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}"))?;
    println!("listening on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        match stream {
            Ok(stream) => {
                std::thread::spawn(move || serve(stream));
            }
            Err(error) => eprintln!("accept: {error}"),
        }
    }
    Ok(())
}

/// Answers requests on one connection until the client closes it.
fn serve(stream: TcpStream) {
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    while let Some((path, caller)) = read_head(&mut reader) {
        let body = match path.as_str() {
            "/healthz" => "ok\n".to_owned(),
            _ => format!("{GREETING}, {}\n", caller.as_deref().unwrap_or("stranger")),
        };
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Reads one request head: the path, and the consumer that the gateway vouches for.
fn read_head(reader: &mut impl BufRead) -> Option<(String, Option<String>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut caller = None;
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let header = line.trim_end();
        if header.is_empty() {
            return Some((path, caller));
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("x-consumer-id")
        {
            caller = Some(value.trim().to_owned());
        }
    }
}
