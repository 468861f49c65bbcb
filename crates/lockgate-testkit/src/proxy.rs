//! A proxy in front of a real server that breaks what it is told to break: cuts a body, answers
//! in the server's place, asks for a token, lies about content.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use parking_lot::Mutex;

/// Longest wait of the proxy for either side.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What happens to a call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection is reset after this many bytes of the answer's body.
    CutAnswer(usize),
    /// The connection is reset after this many bytes of the request's body.
    CutRequest(usize),
    /// This status and these headers, without asking the server.
    Answer(u16, Vec<(&'static str, String)>),
    /// The answer with this header left out.
    WithoutHeader(&'static str),
    /// The answer with this body.
    Body(Vec<u8>),
}

/// A fault and the calls it happens to.
#[derive(Clone, Debug)]
struct Rule {
    method: &'static str,
    path: String,
    times: usize,
    fault: Fault,
}

/// A call as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Seen {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Default)]
struct Shared {
    rules: Vec<Rule>,
    seen: Vec<Seen>,
    /// User, password, and the token that stands for them.
    token: Option<(String, String)>,
    stopped: bool,
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    address: String,
    shared: Arc<Mutex<Shared>>,
    accepting: Option<JoinHandle<()>>,
}

/// The token that [`Proxy::want_token`] gives out.
const TOKEN: &str = "canary-token";

impl Proxy {
    /// A proxy in front of `upstream` that breaks nothing yet.
    pub fn start(upstream: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let shared: Arc<Mutex<Shared>> = Arc::default();
        let (upstream, state) = (upstream.to_owned(), Arc::clone(&shared));
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if state.lock().stopped {
                    return;
                }
                let (upstream, state) = (upstream.clone(), Arc::clone(&state));
                // A client that goes away is the client's business.
                std::thread::spawn(move || drop(serve(stream, &upstream, &state)));
            }
        });
        Ok(Self {
            address,
            shared,
            accepting: Some(accepting),
        })
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Breaks the next `times` calls of `method` whose path holds `path`.
    pub fn break_next(&self, times: usize, method: &'static str, path: &str, fault: Fault) {
        let path = path.to_owned();
        self.shared.lock().rules.push(Rule {
            method,
            path,
            times,
            fault,
        });
    }

    /// From now on calls need a token, which `/token` gives to this user.
    pub fn want_token(&self, user: &str, password: &str) {
        self.shared.lock().token = Some((user.to_owned(), password.to_owned()));
    }

    /// All calls so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.lock().seen.clone()
    }

    /// How many calls of `method` had `path` in their path.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let wanted = |call: &&Seen| call.method == method && call.path.contains(path);
        self.shared.lock().seen.iter().filter(wanted).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        // Wakes the listener.
        let _ = TcpStream::connect(&self.address);
        if let Some(thread) = self.accepting.take() {
            let _ = thread.join();
        }
    }
}

/// One call a connection: both sides are told to close, so an answer ends where it ends.
fn serve(client: TcpStream, upstream: &str, shared: &Mutex<Shared>) -> Result<()> {
    client.set_read_timeout(Some(TIMEOUT))?;
    let mut reader = BufReader::new(client.try_clone()?);
    let (line, headers) = read_head(&mut reader)?;
    let mut words = line.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let path = words
        .next()
        .context("a request line without a path")?
        .to_owned();
    let call = Seen {
        method,
        path,
        headers,
    };
    let fault = note(shared, &call);
    let mut own = vec!["connection"];
    let token = shared.lock().token.clone();
    if let Some((user, password)) = token {
        // The proxy's token is not the server's.
        own.push("authorization");
        if let Some((status, headers, body)) = token_answer(&call, &user, &password) {
            return reply(&client, status, &headers, body.as_bytes());
        }
    }
    match fault {
        Some(Fault::Answer(status, headers)) => {
            // What was sent is read, or closing would be a reset.
            let length = content_length(&call.headers);
            std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
            reply(&client, status, &headers, b"")
        }
        fault => forward(&client, reader, &call, upstream, fault, &own),
    }
}

fn note(shared: &Mutex<Shared>, call: &Seen) -> Option<Fault> {
    let mut shared = shared.lock();
    shared.seen.push(call.clone());
    let fits = |r: &&mut Rule| {
        r.times > 0 && r.method == call.method && call.path.contains(r.path.as_str())
    };
    let rule = shared.rules.iter_mut().find(fits)?;
    rule.times -= 1;
    Some(rule.fault.clone())
}

type Headers = Vec<(&'static str, String)>;

/// The answer of the realm, or the challenge; `None` when the call may pass.
fn token_answer(call: &Seen, user: &str, password: &str) -> Option<(u16, Headers, String)> {
    let host = call.header("host").unwrap_or_default();
    let given = call.header("authorization").unwrap_or_default();
    if call.path.starts_with("/token") {
        // base64 of the fixed pair, so that the proxy needs no decoder.
        let right = given == format!("Basic {}", base64(&format!("{user}:{password}")));
        let body = format!(r#"{{"token": "{TOKEN}", "expires_in": 300}}"#);
        return Some(if right {
            (
                200,
                vec![("content-type", "application/json".to_owned())],
                body,
            )
        } else {
            (401, Vec::new(), String::new())
        });
    }
    if given == format!("Bearer {TOKEN}") {
        return None;
    }
    let challenge = format!(r#"Bearer realm="http://{host}/token",service="test""#);
    Some((401, vec![("www-authenticate", challenge)], String::new()))
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (i, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = DIGITS[(bits >> shift & 63) as usize] as char;
            out.push(if i <= chunk.len() { digit } else { '=' });
        }
    }
    out
}

fn forward(
    client: &TcpStream,
    mut request: BufReader<TcpStream>,
    call: &Seen,
    upstream: &str,
    fault: Option<Fault>,
    own: &[&str],
) -> Result<()> {
    let mut server = TcpStream::connect(upstream).context("connect upstream")?;
    server.set_read_timeout(Some(TIMEOUT))?;
    let mut head = format!("{} {} HTTP/1.1\r\n", call.method, call.path);
    for (name, value) in call
        .headers
        .iter()
        .filter(|(n, _)| !own.contains(&n.as_str()))
    {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("connection: close\r\n\r\n");
    server.write_all(head.as_bytes())?;
    let length = content_length(&call.headers);
    if let Some(Fault::CutRequest(bytes)) = fault {
        std::io::copy(
            &mut (&mut request).take(length.min(bytes as u64)),
            &mut server,
        )?;
        return reset(client);
    }
    std::io::copy(&mut (&mut request).take(length), &mut server)?;
    let mut answer = BufReader::new(server);
    let (status, mut headers) = read_head(&mut answer)?;
    let mut body = Vec::new();
    if call.method != "HEAD" {
        answer.read_to_end(&mut body)?;
    }
    match &fault {
        Some(Fault::WithoutHeader(name)) => headers.retain(|(n, _)| n != name),
        Some(Fault::Body(other)) => {
            body.clone_from(other);
            headers.retain(|(n, _)| n != "content-length");
            headers.push(("content-length".to_owned(), body.len().to_string()));
        }
        _ => {}
    }
    let mut out = format!("{status}\r\n");
    for (name, value) in headers.iter().filter(|(n, _)| n != "connection") {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    out.push_str("connection: close\r\n\r\n");
    let mut writer = client;
    writer.write_all(out.as_bytes())?;
    if let Some(Fault::CutAnswer(bytes)) = fault {
        writer.write_all(&body[..bytes.min(body.len())])?;
        return reset(client);
    }
    Ok(writer.write_all(&body)?)
}

/// Closes so that the other side sees a reset, not an end.
fn reset(client: &TcpStream) -> Result<()> {
    // What was written must leave first, or the reset overtakes it.
    client.set_nodelay(true)?;
    socket2::SockRef::from(client).set_linger(Some(Duration::ZERO))?;
    Ok(())
}

fn reply(mut client: &TcpStream, status: u16, headers: &Headers, body: &[u8]) -> Result<()> {
    let mut head = format!("HTTP/1.1 {status} Told\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!(
        "content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    ));
    client.write_all(head.as_bytes())?;
    Ok(client.write_all(body)?)
}

fn content_length(headers: &[(String, String)]) -> u64 {
    let found = headers.iter().find(|(n, _)| n == "content-length");
    found.and_then(|(_, v)| v.parse().ok()).unwrap_or(0)
}

/// The first line, and headers with names in lower case.
fn read_head(reader: &mut BufReader<TcpStream>) -> Result<(String, Vec<(String, String)>)> {
    let mut line = || {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            bail!("the connection ended in a head");
        }
        Ok(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut headers = Vec::new();
    loop {
        let text = line()?;
        let Some((name, value)) = text.split_once(':') else {
            return Ok((first, headers));
        };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
}
