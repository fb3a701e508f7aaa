//! A line of a request says of which trace it is, in both formats, whoever wrote it.
//!
//! The ids come from the task that logs ([`trace::ids`]); spans of `tracing` would cost each request
//! an entry in a registry, also where nobody reads them.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::trace;

/// Adds the ids to a JSON object.
pub(super) struct Line<F>(pub(super) F);

impl<S, N, F> FormatEvent<S, N> for Line<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(ids) = trace::ids() else { return self.0.format_event(context, out, event) };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        match line.strip_suffix("}\n") {
            Some(begun) => {
                let (trace, span) = (hex::encode(ids.trace), hex::encode(ids.span));
                writeln!(out, r#"{begun},"trace_id":"{trace}","span_id":"{span}"}}"#)
            }
            // Not an object, which it always is.
            None => out.write_str(&line),
        }
    }
}

/// Adds them after the fields of a line for people.
pub(super) struct Fields<F>(pub(super) F);

impl<'w, F: for<'a> FormatFields<'a>> FormatFields<'w> for Fields<F> {
    fn format_fields<R: RecordFields>(&self, mut out: Writer<'w>, fields: R) -> fmt::Result {
        self.0.format_fields(out.by_ref(), fields)?;
        match trace::ids() {
            Some(ids) => {
                let (trace, span) = (hex::encode(ids.trace), hex::encode(ids.span));
                write!(out, " trace_id={trace} span_id={span}")
            }
            None => Ok(()),
        }
    }
}
