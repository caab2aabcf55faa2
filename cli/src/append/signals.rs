//! The signals that end an append.

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The first signal: read no more, flush what was read.
    ToEnd(u8),
    /// A later one: end at once.
    AtOnce(u8),
}

/// SIGINT, SIGTERM and SIGHUP from the time of [`listen`](Self::listen) on.
#[derive(Debug)]
pub(super) struct Signals {
    #[cfg(unix)]
    streams: Vec<(u8, tokio::signal::unix::Signal)>,
    first: Option<u8>,
}

impl Signals {
    /// Takes the signals over from the system, which would kill the process. One that was ignored when
    /// the process started stays ignored: `nohup` relies on it, and so do the background jobs of a script.
    #[cfg(unix)]
    pub(super) fn listen() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let ignored = ignored();
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let streams = kinds.into_iter().filter_map(|kind| {
            let number = u8::try_from(kind.as_raw_value()).ok()?;
            let is_ignored = ignored >> number.saturating_sub(1) & 1 == 1;
            if is_ignored { None } else { Some((number, signal(kind).ok()?)) }
        });
        Signals { streams: streams.collect(), first: None }
    }

    #[cfg(not(unix))]
    pub(super) fn listen() -> Self {
        Signals { first: None }
    }

    /// The number of the first signal that came.
    pub(super) fn first(&self) -> Option<u8> {
        self.first
    }

    /// Waits for a signal. Dropping the future loses none.
    pub(super) async fn next(&mut self) -> Asked {
        let number = self.number().await;
        match self.first {
            Some(_) => Asked::AtOnce(number),
            None => {
                self.first = Some(number);
                Asked::ToEnd(number)
            }
        }
    }

    #[cfg(unix)]
    async fn number(&mut self) -> u8 {
        std::future::poll_fn(|context| {
            for (number, stream) in &mut self.streams {
                if stream.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*number);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }

    #[cfg(not(unix))]
    async fn number(&mut self) -> u8 {
        const SIGINT: u8 = 2;
        match tokio::signal::ctrl_c().await {
            Ok(()) => SIGINT,
            Err(_) => std::future::pending().await,
        }
    }
}

/// The name of one of these signals.
pub(super) fn name(number: u8) -> &'static str {
    match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        15 => "SIGTERM",
        _ => "a signal",
    }
}

/// The signals that this process ignores: bit n-1 stands for signal n. None where the system does not tell.
#[cfg(unix)]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
