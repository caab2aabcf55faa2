//! What `-v` shows: the events of the core, a line each.

use std::fmt::{Debug, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;

use crate::output::{self, Lines};

/// Shows from now on what happens, in as much detail as `-v` was given times.
pub(crate) fn show(verbose: u8) {
    let level = match verbose {
        0 => return tell_what_matters(),
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

/// Without `-v`: what nobody else says, and its user must know.
const MATTERS: [&str; 2] = ["left", "replica"];

/// Shows from now on only what matters however little a user wants to see.
fn tell_what_matters() {
    let filter = FilterFn::new(|event| *event.level() <= Level::WARN && MATTERS.contains(&event.name()));
    let subscriber =
        tracing_subscriber::registry().with(Notes.with_filter(filter.with_max_level_hint(LevelFilter::WARN)));
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Prints an event as a note of this program's.
struct Notes;

impl<S: Subscriber> Layer<S> for Notes {
    fn on_event(&self, event: &Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        output::note(&format!("{}{}", said.message, said.rest));
    }
}

/// The text of an event, and its fields.
#[derive(Default)]
struct Said {
    message: String,
    rest: String,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.rest, "; {name}: {value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// Whether this is an event of the core's, and not what the [`notices`](crate::notices) say anyway: that failures last, and that
/// they have ended.
fn is_shown(event: &Metadata<'_>) -> bool {
    let noticed = event.name() == "answered" || (event.name() == "retry" && *event.level() == Level::WARN);
    // What the span of a request says stands in the events, too.
    event.is_event() && event.target().starts_with("kfs::") && !noticed
}
