//! Which header fields speak of traces. They are between the application and whoever watches it:
//! none of them goes on to the provider, whatever tracing library wrote it.

/// W3C Trace Context and Baggage, B3, and what the libraries of vendors send unasked.
const NAMES: [&str; 13] = [
    "traceparent",
    "tracestate",
    "baggage",
    "correlation-context",
    "b3",
    "uber-trace-id",
    "x-amzn-trace-id",
    "x-cloud-trace-context",
    "grpc-trace-bin",
    "x-ot-span-context",
    "sentry-trace",
    "newrelic",
    "elastic-apm-traceparent",
];

const PREFIXES: [&str; 4] = ["x-b3-", "x-datadog-", "ot-tracer-", "uberctx-"];

/// Whether the field of this name, in lower case, speaks of a trace.
#[must_use]
pub fn is_of_a_trace(name: &str) -> bool {
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}
