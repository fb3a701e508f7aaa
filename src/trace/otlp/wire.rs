//! The messages of OTLP 1 for traces, as far as payonce says anything in them; the numbers are those
//! of `opentelemetry/proto/{collector/trace,trace,resource,common}/v1`, which are stable. A test
//! reads them back with OpenTelemetry's own types.

use prost::{Message, Oneof};

use crate::trace::{Finished, Kind, Value};

/// `ExportTraceServiceRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ToCollector {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
#[expect(clippy::struct_field_names, reason = "these are the protocol's names")]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 3")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Any {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
}

/// `ExportTraceServiceResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Answer {
    #[prost(message, optional, tag = "1")]
    pub(super) partial_success: Option<Partial>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Partial {
    #[prost(int64, tag = "1")]
    pub(super) rejected_spans: i64,
}

/// `SPAN_KIND_INTERNAL`, `SPAN_KIND_SERVER` and `SPAN_KIND_CLIENT`.
const INTERNAL: i32 = 1;
const SERVER: i32 = 2;
const CLIENT: i32 = 3;
/// `STATUS_CODE_ERROR`.
const ERROR: i32 = 2;
/// It is known whether the parent is another process's, and it is.
const KNOWN_WHOSE: u32 = 0x100;
const ANOTHERS: u32 = 0x200;

/// What is sent for these spans of the payonce of this name.
pub(super) fn request(spans: &[Finished], instance: &str) -> ToCollector {
    let version = env!("CARGO_PKG_VERSION");
    let attributes = vec![
        text("service.name", "payonce"),
        text("service.version", version),
        text("service.instance.id", instance),
    ];
    let scope = Scope { name: "payonce".to_owned(), version: version.to_owned() };
    let spans = spans.iter().map(span).collect();
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
    let resource = Some(Resource { attributes });
    ToCollector { resource_spans: vec![ResourceSpans { resource, scope_spans }] }
}

fn span(span: &Finished) -> Span {
    let parent = span.parent.map(|(id, _)| id.to_vec()).unwrap_or_default();
    let remote = span.parent.is_some_and(|(_, remote)| remote);
    Span {
        trace_id: span.ids.trace.to_vec(),
        span_id: span.ids.span.to_vec(),
        trace_state: span.state.to_string(),
        parent_span_id: parent,
        name: span.name.clone(),
        kind: match span.kind {
            Kind::Server => SERVER,
            Kind::Client => CLIENT,
            Kind::Internal => INTERNAL,
        },
        start_time_unix_nano: span.start,
        end_time_unix_nano: span.end,
        attributes: span.attributes.iter().map(|(key, value)| attribute(key, value)).collect(),
        status: span.failed.then_some(Status { code: ERROR }),
        flags: u32::from(span.flags.bits()) | KNOWN_WHOSE | if remote { ANOTHERS } else { 0 },
    }
}

fn attribute(key: &str, value: &Value) -> KeyValue {
    match value {
        Value::Text(value) => text(key, value),
        Value::Number(number) => pair(key, Any::Number(*number)),
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    pair(key, Any::Text(value.to_owned()))
}

fn pair(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}
