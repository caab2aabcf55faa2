//! A server that answers by a script, for the tests of the stores on HTTP.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::runtime::{BoxFuture, Clock, Runtime, SystemEntropy};
use crate::store::Store;
use crate::testing::LocalSpawn;

#[derive(Debug)]
pub(in crate::store) struct Request {
    pub(in crate::store) line: String,
    pub(in crate::store) headers: HashMap<String, String>,
    pub(in crate::store) body: Vec<u8>,
}

/// Status, headers and body; `None` cuts the connection.
pub(in crate::store) type Reply = Option<(u16, Vec<(&'static str, String)>, String)>;

pub(in crate::store) fn reply(status: u16, body: &str) -> Reply {
    Some((status, Vec::new(), body.to_string()))
}

/// A clock whose pauses end at once, and which keeps them. What lasts longer than a pause never ends.
#[derive(Debug, Default)]
pub(in crate::store) struct NoPauses(pub(in crate::store) Mutex<Vec<Duration>>);

impl Clock for NoPauses {
    fn wall_ms(&self) -> i64 {
        0
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        if duration > Duration::from_secs(200) {
            return Box::pin(std::future::pending());
        }
        self.0.lock().unwrap().push(duration);
        Box::pin(std::future::ready(()))
    }
}

/// The store, whose calls wait by this clock.
pub(in crate::store) fn waiting_by(clock: &Arc<NoPauses>, store: Store) -> Store {
    store.waiting_on(&Runtime::new(clock.clone(), Arc::new(SystemEntropy), Arc::new(LocalSpawn)))
}

/// The store, whose calls do not wait before they are tried again.
pub(in crate::store) fn impatient(store: Store) -> Store {
    waiting_by(&Arc::default(), store)
}

/// Runs `work` beside a server that answers `script`, and gives what it was asked.
pub(in crate::store) async fn served<T>(
    mut script: impl FnMut(&Request) -> Reply,
    work: impl AsyncFnOnce(&str) -> T,
) -> (T, Vec<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let requests = Mutex::new(Vec::new());
    let server = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let Some(request) = read(&mut stream).await else { continue };
            let reply = script(&request);
            let head = request.line.starts_with("HEAD");
            requests.lock().unwrap().push(request);
            let Some((status, headers, body)) = reply else { continue };
            let mut answer = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n");
            // That of the answer to a HEAD is the object's.
            if !headers.iter().any(|(name, _)| *name == "Content-Length") {
                answer.push_str(&format!("Content-Length: {}\r\n", body.len()));
            }
            for (name, value) in headers {
                answer.push_str(&format!("{name}: {value}\r\n"));
            }
            answer.push_str("\r\n");
            if !head {
                answer.push_str(&body);
            }
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    };
    let done = tokio::select! {
        done = work(&endpoint) => done,
        () = server => unreachable!(),
    };
    (done, requests.into_inner().unwrap())
}

pub(in crate::store) async fn read(stream: &mut BufReader<tokio::net::TcpStream>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    let mut headers = HashMap::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await.unwrap();
        let Some((name, value)) = header.trim().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_string());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request { line: line.trim().to_string(), headers, body })
}
