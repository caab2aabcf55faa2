//! A real server in a process of its own, on a free port of loopback.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take to accept its first connection: azurite takes 8 s on an idle machine with cold caches.
const READY_LIMIT: Duration = Duration::from_secs(60);
const READY_POLL: Duration = Duration::from_millis(10);
/// A free port is found by binding it and letting go, so another process can get in between.
const PORT_TRIES: usize = 5;
/// The ports that servers get. Systems give other ones to a socket that does not name its port (Linux from 32768 up,
/// others from 49152 up), so no listener or client of a test can come upon a server's port before the server does: the
/// wait for the server would take that listener for it.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// The program of a server: what the environment variable names, else what `make servers` installs under `.servers`.
///
/// # Panics
/// When the variable names no file.
pub(crate) fn installed(variable: &str, place: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "{variable} names no file: {}", path.display());
        return Some(path);
    }
    let path = crate::repository().join(".servers").join(place);
    path.is_file().then_some(path)
}

/// A command that runs a server's program with an empty environment: the caller's own settings must not reach it.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    command
}

/// A running server. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    child: Child,
    address: SocketAddr,
}

impl ServerProcess {
    /// Runs the command for a free address, and waits until the server accepts a connection.
    ///
    /// # Panics
    /// When it does not start.
    pub(crate) fn start(command: impl Fn(SocketAddr) -> Command) -> Self {
        for attempt in 1..=PORT_TRIES {
            let address = free_address();
            match run(command(address), address) {
                Ok(child) => return ServerProcess { child, address },
                Err(reason) => assert!(attempt < PORT_TRIES, "no server started on {address}: {reason}"),
            }
        }
        unreachable!("the last attempt returned or panicked")
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills the server as a crash would (SIGKILL).
    pub(crate) fn kill(&mut self) {
        stop(&mut self.child);
    }

    /// Kills it, and runs the command at the same address.
    ///
    /// # Panics
    /// When it does not start.
    pub(crate) fn restart(&mut self, command: impl Fn(SocketAddr) -> Command) {
        self.kill();
        // A client that asks for a free port to connect from may get this one, for a moment.
        for attempt in 1..=PORT_TRIES {
            match run(command(self.address), self.address) {
                Ok(child) => return self.child = child,
                Err(reason) => assert!(attempt < PORT_TRIES, "no server on {} again: {reason}", self.address),
            }
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The next free address: a process starts where its id says, and gives no port twice before it has given all.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let count = PORTS.end - PORTS.start;
    let first = std::process::id().wrapping_mul(97) % u32::from(count);
    for _ in 0..count {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + u16::try_from((first + step) % u32::from(count)).expect("below the count");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port of {PORTS:?} is free");
}

fn run(mut command: Command, address: SocketAddr) -> Result<Child, String> {
    let mut child = command.spawn().map_err(|e| format!("can't run {}: {e}", command.get_program().display()))?;
    wait_until_ready(&mut child, address).inspect_err(|_| stop(&mut child))?;
    Ok(child)
}

#[allow(clippy::disallowed_methods, reason = "another process becomes ready in real time")]
fn wait_until_ready(child: &mut Child, address: SocketAddr) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            return Err(format!("it ended with {status}"));
        }
        match TcpStream::connect(address) {
            // While nobody listens there, the system may give the connection the same port at both ends.
            Ok(to_itself) if to_itself.local_addr().is_ok_and(|own| own == address) => {}
            Ok(_) => return Ok(()),
            Err(e) if begun.elapsed() > READY_LIMIT => return Err(format!("no connection in {READY_LIMIT:?}: {e}")),
            Err(_) => std::thread::sleep(READY_POLL),
        }
    }
}

fn stop(child: &mut Child) {
    // An error means that it is gone already.
    let _ = child.kill();
    let _ = child.wait();
}
