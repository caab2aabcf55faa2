//! A subscriber of the crate `tracing` for tests. It is one for the process: that crate remembers whether anybody wants an
//! event, and may ask the subscriber of another test's thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Hears each event and each change of a span as a line.
type Hear = Arc<dyn Fn(String)>;

#[derive(Default)]
struct Listener {
    hear: Option<Hear>,
    /// The spans that were made on this thread, as text.
    spans: HashMap<u64, String>,
    /// Those that are entered, outermost first.
    entered: Vec<u64>,
}

thread_local! {
    /// Who listens on this thread. A test runs all its tasks on its own.
    static LISTENER: RefCell<Listener> = RefCell::default();
}

/// Hears what is told on this thread, to the end of the test. An event is `LEVEL target field=value...`, followed by
/// ` in name{field=value...}` for each span around it. A span is heard as `NEW`, `NOTED`, `ENTERED`, `LEFT` and `CLOSED`.
pub(crate) fn listen(hear: impl Fn(String) + 'static) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::subscriber::set_global_default(Listens).unwrap();
        tracing::callsite::rebuild_interest_cache();
    });
    LISTENER.set(Listener { hear: Some(Arc::new(hear)), ..Listener::default() });
}

struct Listens;

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

/// Passes a line on. The caller's code may come back here, so nothing is borrowed meanwhile.
fn hear(line: String) {
    let listener = LISTENER.with_borrow(|listener| listener.hear.clone());
    if let Some(listener) = listener {
        listener(line);
    }
}

fn span(id: &Id) -> String {
    LISTENER.with_borrow(|listener| listener.spans.get(&id.into_u64()).cloned().unwrap_or_default())
}

impl Subscriber for Listens {
    fn enabled(&self, meta: &Metadata<'_>) -> bool {
        // Many subscribers filter by `is_event`, which is false for the question of `tracing::enabled!`. So does this one.
        meta.is_event() || (meta.is_span() && meta.target().starts_with("kfs::"))
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = Id::from_u64(NEXT.fetch_add(1, Ordering::Relaxed));
        let mut text = Text(attributes.metadata().name().to_string());
        attributes.record(&mut text);
        LISTENER.with_borrow_mut(|listener| listener.spans.insert(id.into_u64(), text.0.clone()));
        hear(format!("NEW {}", text.0));
        id
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        let mut text = Text(String::new());
        values.record(&mut text);
        LISTENER.with_borrow_mut(|listener| {
            listener.spans.entry(id.into_u64()).or_default().push_str(&text.0);
        });
        hear(format!("NOTED{}", text.0));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let meta = event.metadata();
        if !meta.target().starts_with("kfs::") {
            return;
        }
        let mut text = Text(format!("{} {}", meta.level(), meta.target()));
        event.record(&mut text);
        LISTENER.with_borrow(|listener| {
            for span in listener.entered.iter().filter_map(|id| listener.spans.get(id)) {
                write!(text.0, " in {span}").unwrap();
            }
        });
        hear(text.0);
    }

    fn enter(&self, id: &Id) {
        LISTENER.with_borrow_mut(|listener| listener.entered.push(id.into_u64()));
        hear(format!("ENTERED {}", span(id)));
    }

    fn exit(&self, id: &Id) {
        let left = LISTENER.with_borrow_mut(|listener| listener.entered.pop());
        assert!(left.is_none_or(|left| left == id.into_u64()), "spans are left in the order of their nesting");
        hear(format!("LEFT {}", span(id)));
    }

    fn try_close(&self, id: Id) -> bool {
        hear(format!("CLOSED {}", span(&id)));
        true
    }
}
