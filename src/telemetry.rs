//! Logs: events to standard error, for people or for machines. Not in here: what is logged, which
//! stands where it happens, and counters ([`metrics`](crate::metrics)).
//!
//! One line tells each critical operation, at level `info`, when its answer was handed on. Which lines
//! there are and what their fields mean stands in `config/log.schema.json`, for people in
//! `deploy/logs.md`; a test holds every line of the source against it. A line of a request says its
//! `trace_id` and `span_id` ([`trace`](crate::trace)).
//!
//! Never a field: a key, a body or a part of one, an `Authorization`, a client's address beyond
//! loopback or network.

use std::io::{self, IsTerminal};
use std::panic::{self, Location, PanicHookInfo};

use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, fmt};

mod traced;

use crate::settings::{Log, LogFormat, LogLevel};

/// Sends all events of this process to standard error as `log` says, and panics with them.
///
/// # Errors
/// If this process logs already.
pub fn start(log: Log) -> Result<(), tracing::dispatcher::SetGlobalDefaultError> {
    let colours = io::stderr().is_terminal();
    tracing::dispatcher::set_global_default(Dispatch::new(subscriber(log, colours, io::stderr)))?;
    panic::set_hook(Box::new(report_panic));
    Ok(())
}

/// What writes events to `out` as `log` says.
pub fn subscriber<W>(log: Log, colours: bool, out: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = match log.format {
        LogFormat::Human => fmt::layer()
            .with_writer(out)
            .with_ansi(colours)
            .fmt_fields(traced::Fields(fmt::format::DefaultFields::new()))
            .boxed(),
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .map_event_format(traced::Line)
            .with_writer(out)
            .boxed(),
    };
    Registry::default().with(lines.with_filter(filter(log.level)))
}

/// The libraries within say no more than warnings: hyper, h2 and rustls show header fields and
/// bytes from `debug` on, and API keys with them.
fn filter(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("payonce", level)
}

/// Says where a panic happened, not what it said: a message can quote a body.
fn report_panic(info: &PanicHookInfo<'_>) {
    let location = info.location().map(Location::to_string).unwrap_or_default();
    tracing::error!(
        location,
        "a task of payonce panicked, which is a bug; an operation that it was sending is in doubt: \
         the same request again is safe, except for a single call (`payonce ops list`)"
    );
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::trace;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(log: Log, act: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(log, false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, act);
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    const JSON: Log = Log { format: LogFormat::Json, level: LogLevel::Info };

    #[test]
    fn json_is_one_object_a_line_with_the_fields_at_its_top() {
        let text = logged(JSON, || {
            tracing::info!(operation_id = "abc", attempts = 2, "executed");
            tracing::info!("and\nanother");
        });
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(
            (&lines[0]["operation_id"], &lines[0]["level"]),
            (&"abc".into(), &"INFO".into())
        );
        assert_eq!(lines[0]["attempts"], 2);
        assert_eq!(lines[1]["message"], "and\nanother");
    }

    #[test]
    fn a_line_of_a_request_says_its_trace_in_both_formats_and_others_do_not() {
        let tracer = trace::Tracer::default();
        let request = tracer.request(&http::Method::GET, &http::HeaderMap::new());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ids = runtime.block_on(request.during(async { trace::ids().unwrap() }));
        let (of_trace, of_span) = (hex::encode(ids.trace), hex::encode(ids.span));
        let act = || {
            runtime.block_on(request.during(async { tracing::info!(rule = "}", "within}}") }));
            tracing::info!("without");
        };
        let json = logged(JSON, act);
        let (within, without) = json.trim_end().split_once('\n').unwrap();
        let within: serde_json::Value = serde_json::from_str(within).unwrap();
        assert_eq!((&within["trace_id"], &within["span_id"]), (&of_trace.into(), &of_span.into()));
        assert_eq!((&within["rule"], &within["message"]), (&"}".into(), &"within}".into()));
        assert!(!without.contains("trace_id"), "{without}");
        let human = logged(Log { format: LogFormat::Human, level: LogLevel::Info }, act);
        let (within, without) = human.trim_end().split_once('\n').unwrap();
        let ids = format!(" trace_id={} span_id={}", hex::encode(ids.trace), hex::encode(ids.span));
        assert!(within.ends_with(&ids), "{within}");
        assert!(!without.contains("trace_id"), "{without}");
    }

    #[test]
    fn libraries_stay_quiet_however_much_payonce_tells() {
        let log = Log { format: LogFormat::Human, level: LogLevel::Trace };
        let text = logged(log, || {
            tracing::trace!("ours");
            tracing::debug!(target: "h2::codec", "theirs, with an API key");
            tracing::warn!(target: "rustls", "a warning of theirs");
        });
        assert!(text.contains("ours") && text.contains("a warning of theirs"), "{text}");
        assert!(!text.contains("API key"), "{text}");
    }

    #[test]
    fn the_level_bounds_what_payonce_tells() {
        let log = Log { format: LogFormat::Human, level: LogLevel::Error };
        let text = logged(log, || {
            tracing::warn!("not this");
            tracing::warn!(target: "rustls", "nor this");
            tracing::error!("but this");
        });
        assert!(text.contains("but this"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    #[test]
    fn a_panic_is_logged_with_its_place_and_without_its_words() {
        let text = logged(JSON, || {
            let before = panic::take_hook();
            panic::set_hook(Box::new(report_panic));
            let outcome = panic::catch_unwind(|| panic!("the body was hunter2"));
            panic::set_hook(before);
            assert!(outcome.is_err());
        });
        assert!(text.contains("telemetry.rs"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
