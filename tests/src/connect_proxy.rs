//! An HTTP proxy of a test's own: with it a client reaches hosts whose names no system resolves.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// Tunnels every connection (the method CONNECT) to one server, whatever host it is for, until the process ends.
#[derive(Clone, Debug)]
pub struct ConnectProxy {
    address: SocketAddr,
    hosts: Arc<Mutex<Vec<String>>>,
}

impl ConnectProxy {
    /// Starts a proxy for the server at this address.
    ///
    /// # Panics
    /// When no port can be bound.
    #[allow(clippy::disallowed_methods, reason = "a server of the test's own")]
    pub fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a port");
        let address = listener.local_addr().expect("ask for the port");
        let proxy = ConnectProxy { address, hosts: Arc::default() };
        let serving = proxy.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let proxy = serving.clone();
                std::thread::spawn(move || proxy.tunnel(client, server));
            }
        });
        proxy
    }

    /// Its URL, as in `http://127.0.0.1:7070`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The hosts and ports that connections were for, in their order.
    pub fn hosts(&self) -> Vec<String> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[allow(clippy::disallowed_methods, reason = "a server of the test's own")]
    fn tunnel(&self, client: TcpStream, server: SocketAddr) -> Option<()> {
        let mut asked = BufReader::new(client.try_clone().ok()?);
        let mut line = String::new();
        asked.read_line(&mut line).ok()?;
        let host = line.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next())?.to_owned();
        // The rest of the head, up to the empty line.
        while line.trim() != "" {
            line.clear();
            asked.read_line(&mut line).ok()?;
        }
        let server = TcpStream::connect(server).ok()?;
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).push(host);
        (&client).write_all(b"HTTP/1.1 200 Connected\r\n\r\n").ok()?;
        let (mut from_server, mut to_client) = (server.try_clone().ok()?, client);
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from_server, &mut to_client);
            let _ = to_client.shutdown(Shutdown::Write);
        });
        let _ = std::io::copy(&mut asked, &mut &server);
        server.shutdown(Shutdown::Write).ok()
    }
}
