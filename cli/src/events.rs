//! What `-v` shows: the events of the core, a line each.

use tracing::{Level, Metadata};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;

use crate::output::{self, Lines};

/// Shows from now on what happens, in as much detail as `-v` was given times.
pub(crate) fn show(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => Level::INFO,
        2 => Level::DEBUG,
        _ => Level::TRACE,
    };
    output::draw_no_bars();
    let filter = FilterFn::new(move |event| *event.level() <= level && is_shown(event));
    let filter = filter.with_max_level_hint(LevelFilter::from_level(level));
    let lines = tracing_subscriber::fmt::layer().with_ansi(output::is_colourful()).with_writer(|| Lines);
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
    // It is the first and only one.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Whether this is an event of the core's, and not what the [`notices`](crate::notices) say anyway: that failures last, and that
/// they have ended.
fn is_shown(event: &Metadata<'_>) -> bool {
    let noticed = event.name() == "answered" || (event.name() == "retry" && *event.level() == Level::WARN);
    // What the span of a request says stands in the events, too.
    event.is_event() && event.target().starts_with("kfs::") && !noticed
}
