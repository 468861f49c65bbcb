//! A blocking HTTP/1.1 client that keeps one connection and hides nothing.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// No answer of a test takes longer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: String,
}

impl Answer {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }
}

/// One kept connection.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
    host: String,
}

impl Client {
    /// Connects to `host:port`.
    pub fn connect(address: &str) -> Result<Self> {
        let stream =
            TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
            host: address.to_owned(),
        })
    }

    /// Sends a GET and reads the whole answer.
    pub fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        self.send(&format!("GET {path}"), headers, "")
    }

    /// Sends a POST with a body and reads the whole answer.
    pub fn post(&mut self, path: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer> {
        let length = body.len().to_string();
        let headers = [headers, &[("content-length", &length)]].concat();
        self.send(&format!("POST {path}"), &headers, body)
    }

    /// Sends a PUT with a body and reads the whole answer.
    pub fn put(&mut self, path: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer> {
        let length = body.len().to_string();
        let headers = [headers, &[("content-length", &length)]].concat();
        self.send(&format!("PUT {path}"), &headers, body)
    }

    fn send(&mut self, start: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer> {
        let mut text = format!("{start} HTTP/1.1\r\nhost: {}\r\n", self.host);
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.push_str(body);
        self.stream.get_mut().write_all(text.as_bytes())?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Answer> {
        let status_line = self.read_line()?;
        let status = status_line.split(' ').nth(1).and_then(|s| s.parse().ok());
        let status = status.with_context(|| format!("no status line: {status_line:?}"))?;
        let mut headers = Vec::new();
        loop {
            let line = self.read_line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').context("a header without a colon")?;
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        let answer = Answer {
            status,
            headers,
            body: String::new(),
        };
        let mut body = Vec::new();
        if let Some(length) = answer.header("content-length") {
            body.resize(length.parse()?, 0);
            self.stream
                .read_exact(&mut body)
                .context("the body was cut")?;
        } else if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = self.read_line()?;
                let size = usize::from_str_radix(size.trim(), 16)?;
                let at = body.len();
                body.resize(at + size, 0);
                self.stream
                    .read_exact(&mut body[at..])
                    .context("the body was cut")?;
                ensure!(self.read_line()?.is_empty(), "a chunk without its line end");
                if size == 0 {
                    break;
                }
            }
        }
        Ok(Answer {
            body: String::from_utf8_lossy(&body).into_owned(),
            ..answer
        })
    }

    fn read_line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            bail!("the connection was closed without an answer");
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

/// One GET on a connection of its own; `url` is `http://host:port/path`.
pub fn get(url: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    let (address, path) = split(url)?;
    Client::connect(address)?.get(&path, headers)
}

/// One POST of JSON on a connection of its own; `url` is `http://host:port/path`.
pub fn post(url: &str, headers: &[(&str, &str)], json: &str) -> Result<Answer> {
    let (address, path) = split(url)?;
    let headers = [headers, &[("content-type", "application/json")]].concat();
    Client::connect(address)?.post(&path, &headers, json)
}

/// Address and path of a URL.
fn split(url: &str) -> Result<(&str, String)> {
    let rest = url
        .strip_prefix("http://")
        .with_context(|| format!("not plain HTTP: {url}"))?;
    Ok(match rest.split_once('/') {
        Some((address, path)) => (address, format!("/{path}")),
        None => (rest, "/".to_owned()),
    })
}
