//! A client of an AI route that counts the words it got and hangs up where it is told.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::World;
use crate::example::endpoint;

/// No answer of a test takes longer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where an AI route is and who may call it.
#[derive(Clone, Debug)]
pub struct Api {
    address: String,
    key: String,
}

/// What a client got of an answer.
#[derive(Clone, Debug, Default)]
pub struct Got {
    /// Everything, head and chunk headers included.
    pub text: String,
    /// The connection ended before the client hung up by itself.
    pub closed: bool,
}

impl Got {
    /// Status of the answer; 0 when its first line is not here.
    pub fn status(&self) -> u16 {
        let line = self.text.split_once("\r\n").map(|(line, _)| line);
        let word = line.and_then(|line| line.split(' ').nth(1));
        word.and_then(|w| w.parse().ok()).unwrap_or(0)
    }

    /// The id of the request, once the head is there.
    pub fn request(&self) -> Option<&str> {
        let (head, _) = self.text.split_once("\r\n\r\n")?;
        let line = head.lines().find(|l| l.starts_with("x-request-id: "))?;
        line.split_once(": ").map(|(_, id)| id)
    }

    /// Words of a stream.
    pub fn words(&self) -> u64 {
        self.text.matches(crate::vendor::WORD).count() as u64
    }

    /// A whole answer: the transport says so, and so does a stream.
    pub fn is_whole(&self) -> bool {
        let Some((head, body)) = self.text.split_once("\r\n\r\n") else {
            return false;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        match length.and_then(|n| n.parse::<usize>().ok()) {
            Some(length) => body.len() >= length,
            None => body.ends_with("0\r\n\r\n") && body.contains("data: [DONE]\n\n"),
        }
    }
}

impl Api {
    /// The AI route of a world whose stack is up.
    pub fn of(world: &World) -> Result<Self> {
        let (url, key) = endpoint(world)?;
        let address = url.trim_start_matches("http://").split('/').next();
        Ok(Self {
            address: address.context("a URL without an address")?.to_owned(),
            key,
        })
    }

    /// The same route with another key.
    pub fn with_key(&self, key: &str) -> Self {
        Self {
            key: key.to_owned(),
            ..self.clone()
        }
    }

    /// A body for `model` that asks for `words` words.
    pub fn body(model: &str, stream: bool, words: u64) -> Value {
        json!({"model": model, "stream": stream, "max_tokens": words,
            "messages": [{"role": "user", "content": "go on"}]})
    }

    /// Asks for a completion; see [`Api::post`].
    pub fn chat(&self, body: &Value, bytes: usize) -> Result<Got> {
        self.post("/v1/chat/completions", body, bytes)
    }

    /// Asks and reads the answer until it ends or `bytes` of it are here. An error means that
    /// nothing was sent.
    pub fn post(&self, path: &str, body: &Value, bytes: usize) -> Result<Got> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            self.key,
            body.len()
        );
        let mut got = Got::default();
        if stream.write_all(request.as_bytes()).is_err() {
            got.closed = true;
            return Ok(got);
        }
        let mut all = Vec::new();
        let mut buffer = [0; 16 * 1024];
        while all.len() < bytes {
            let room = buffer.len().min(bytes - all.len());
            match stream.read(&mut buffer[..room]) {
                Ok(n) if n > 0 => all.extend_from_slice(&buffer[..n]),
                _ => {
                    got.closed = true;
                    break;
                }
            }
        }
        got.text = String::from_utf8_lossy(&all).into_owned();
        Ok(got)
    }
}
