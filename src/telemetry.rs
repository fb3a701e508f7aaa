//! Logs: events to standard error, for people or for machines. Not in here: what is logged, which
//! stands where it happens, and counters ([`metrics`](crate::metrics)).
//!
//! One line tells each critical operation, at level `info`, when its answer was handed on. Its
//! fields, the same in both formats and in every other event that has them:
//!
//! | field | meaning |
//! |---|---|
//! | `operation_id` | as in `Payonce-Operation-Id`; what people search for |
//! | `request` | method and path, without the query |
//! | `rule`, `policy_version` | what the request fell under |
//! | `identity` | `header`, `fields`, `own_key`, `content` or `call` |
//! | `row` | the row of the table that decided (DESIGN §4) |
//! | `outcome` | as in `Payonce-Outcome`; absent without an outcome |
//! | `state` | `succeeded`, `declined`, `in_doubt` or `not_executed` |
//! | `attempts`, `status` | how often it was sent, and what was answered |
//! | `stopped`, `cause` | why it was sent no more; what went wrong last |
//! | `amount`, `currency`, `caller` | as the request said, cut short |
//! | `object_id`, `request_id` | Stripe's |
//! | `degraded` | why safety was less than usual |
//! | `finding`, `done`, `times` | what a guard found, what was done, how often since its last line |
//! | `duration_ms` | from the request's head to the answer's |
//! | `finding`, `would`, `before` | where payonce only observes: what came to light, what it would have done, what was known |
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
        LogFormat::Human => fmt::layer().with_writer(out).with_ansi(colours).boxed(),
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
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
        "a task of payonce panicked, which is a bug; an operation that it was sending is in doubt, \
         and the same request again is safe"
    );
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

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
