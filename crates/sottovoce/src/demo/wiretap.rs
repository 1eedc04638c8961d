use std::fmt;

use tokio::sync::mpsc;
use tracing::{Event, Level, Subscriber, field::Field, level_filters::LevelFilter};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// Messages that may wait to be shown; more are passed over.
const MAX_UNSHOWN: usize = 64;

/// Listens to what the relay logs at its finest level: the messages that it passes on, in hexadecimal.
pub(super) fn begin() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(MAX_UNSHOWN);
    let layer = Wiretap(sender)
        .with_filter(tracing_subscriber::filter::Targets::new().with_target("relay", LevelFilter::TRACE));
    // Whoever has begun to listen before keeps listening.
    let _ = tracing_subscriber::registry().with(layer).try_init();
    receiver
}

struct Wiretap(mpsc::Sender<String>);

impl<S: Subscriber> Layer<S> for Wiretap {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() == Level::TRACE {
            let mut frame = Frame(None);
            event.record(&mut frame);
            if let Some(hex) = frame.0 {
                let _ = self.0.try_send(hex);
            }
        }
    }
}

struct Frame(Option<String>);

impl tracing::field::Visit for Frame {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "frame" {
            self.0 = Some(format!("{value:?}"));
        }
    }
}
