//! The schema of a log line says what is logged: every call in the source has its entry with the same
//! fields, no entry is of nothing, and what a real process prints is as the schema says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "that is how a test fails"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};

use crate::running::{CHARGE, Running, fault, get, post, until, write};

mod source;

use source::Call;

const SCHEMA: &str = include_str!("../../config/log.schema.json");

/// What every line may bear, and is no field of its own.
const COMMON: [&str; 6] = ["timestamp", "level", "target", "message", "trace_id", "span_id"];

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

fn compiled() -> (Schemas, SchemaIndex) {
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource("log.json", schema()).unwrap();
    let index = compiler.compile("log.json", &mut schemas).unwrap();
    (schemas, index)
}

/// The schema's entry for a line of this level and message.
struct Entry {
    level: String,
    message: Option<String>,
    fields: BTreeSet<String>,
}

fn entries() -> Vec<Entry> {
    let schema = schema();
    let entry = |entry: &Value| {
        let properties = entry["properties"].as_object().unwrap();
        let of_its_own = properties.keys().filter(|name| !COMMON.contains(&name.as_str()));
        Entry {
            level: properties["level"]["const"].as_str().unwrap().to_owned(),
            message: properties["message"]["const"].as_str().map(str::to_owned),
            fields: of_its_own.cloned().collect(),
        }
    };
    schema["then"]["anyOf"].as_array().unwrap().iter().map(entry).collect()
}

fn calls() -> Vec<Call> {
    source::calls(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

/// An entry that would do for `call`.
fn suggestion(call: &Call) -> Value {
    let mut properties = json!({ "level": { "const": call.level } });
    if let Some(message) = &call.message {
        properties["message"] = json!({ "const": message });
    }
    for field in &call.fields {
        properties[field] = json!({ "$ref": format!("#/$defs/{field}") });
    }
    json!({ "properties": properties, "required": call.fields })
}

#[test]
fn every_line_that_the_source_can_log_has_an_entry_with_its_fields() {
    let entries = entries();
    let has_entry = |call: &Call| {
        entries.iter().any(|entry| {
            let same = (&entry.level, &entry.message) == (&call.level, &call.message);
            same && entry.fields.is_superset(&call.fields)
        })
    };
    let missing: Vec<_> = calls().into_iter().filter(|call| !has_entry(call)).collect();
    let told = missing.iter().map(|call| format!("{}: {}", call.place, suggestion(call)));
    let told: Vec<_> = told.collect();
    assert!(told.is_empty(), "config/log.schema.json lacks entries:\n{}", told.join("\n"));
}

#[test]
fn every_entry_and_every_field_of_it_is_logged_somewhere() {
    let calls = calls();
    assert!(calls.len() > 90, "the source is not read as it is written: {}", calls.len());
    for Entry { level, message, fields } in entries() {
        let same = |call: &&Call| (&call.level, &call.message) == (&level, &message);
        let logged = calls.iter().filter(same).flat_map(|call| &call.fields);
        let logged: BTreeSet<_> = logged.cloned().collect();
        let here = calls.iter().any(|call| same(&call));
        assert!(here && logged.is_superset(&fields), "{level} {message:?}: {fields:?}");
    }
}

#[test]
fn every_field_is_explained_once_and_no_other() {
    let schema = schema();
    let used: BTreeSet<_> = entries().into_iter().flat_map(|entry| entry.fields).collect();
    let explained: BTreeSet<_> = schema["$defs"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(used, explained);
    for (name, field) in schema["$defs"].as_object().unwrap() {
        assert!(field["description"].as_str().is_some_and(|said| said.len() > 5), "{name}");
    }
}

/// A line that a process printed is as the schema says, if it is one of its log. Every process of
/// every test is held to that.
#[track_caller]
pub(crate) fn check(line: &str) {
    thread_local! {
        static COMPILED: (Schemas, SchemaIndex) = compiled();
    }
    let Ok(value) = serde_json::from_str::<Value>(line) else { return };
    if value["timestamp"].is_null() {
        return;
    }
    let refused = COMPILED
        .with(|(schemas, index)| schemas.validate(&value, *index).err().map(|it| it.to_string()));
    let Some(error) = refused else { return };
    let entry = entries().into_iter().find(|entry| {
        Some(entry.level.as_str()) == value["level"].as_str()
            && entry.message.as_deref() == value["message"].as_str()
    });
    let fields = entry.map(|entry| entry.fields);
    panic!("{line}\nis not as config/log.schema.json says ({fields:?}): {error}");
}

#[test]
fn a_line_with_an_unknown_field_or_a_wrong_type_is_refused() {
    let (schemas, index) = compiled();
    let line = json!({
        "timestamp": "2026-11-24T00:00:00.000000Z", "level": "WARN", "target": "payonce::ledger::redis",
        "message": "the store cannot be watched", "store": "redis", "error": "gone",
        "trace_id": TRACE, "span_id": "00f067aa0ba902b7",
    });
    let fits = |name: &str, value: Value| {
        let mut line = line.clone();
        line[name] = value;
        schemas.validate(&line, index).is_ok()
    };
    assert!(fits("store", json!("redis")));
    assert!(!fits("body", json!("amount=1")));
    assert!(!fits("error", json!(1)));
    assert!(!fits("trace_id", json!("short")));
    assert!(!fits("message", json!("something else")));
    assert!(!fits("level", json!("INFO")));
    // What a library within says is its own.
    assert!(fits("target", json!("rustls")));
}

#[test]
fn every_line_of_a_varied_session_is_as_the_schema_says() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let policy = |mode: &str| {
        format!(
            "version = 1\nmode = \"{mode}\"\n[[rule]]\nname = \"charges\"\n\
             match = [\"POST /v1/charges\"]\nclass = \"critical\"\nidentity = \"content\"\n\
             distinguishes = [\"source\"]\n[[rule]]\nname = \"never\"\nmatch = [\"POST /v1/refunds\"]\n\
             class = \"refuse\"\n"
        )
    };
    let file = write(directory.path(), "policy.toml", &policy("enforce"));
    let audit = directory.path().join("audit.ndjson");
    let env = [
        ("PAYONCE_POLICY__PATH", file.to_str().unwrap()),
        ("PAYONCE_POLICY__REFRESH", "1s"),
        ("PAYONCE_POLICY__AUDIT_LOG", audit.to_str().unwrap()),
        ("PAYONCE_LOG__LEVEL", "trace"),
        ("PAYONCE_RETRY__MAX_ATTEMPTS", "2"),
    ];
    let payonce = Running::serve_in(Arc::clone(&directory), &["--sandbox"], &env);
    let (proxy, sandbox) = (payonce.proxy(), payonce.sandbox());
    let traced = [("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"))];
    let traced = traced.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(post(proxy, "/v1/charges", &traced, CHARGE).status, 200);
    // Declined, refused in several ways, passed, in doubt, and another attempt.
    let declined = "amount=500&currency=usd&source=tok_chargeDeclined";
    assert_eq!(post(proxy, "/v1/charges", &[], declined).status, 402);
    assert_eq!(post(proxy, "/v1/refunds", &[], "charge=ch_1").status, 403);
    assert_eq!(post(proxy, "/v1/charges", &[("Idempotency-Key", "")], CHARGE).status, 400);
    assert_eq!(get(proxy, "/v1//charges").status, 400);
    get(proxy, "/v1/balance");
    fault(sandbox, &json!({ "kind": "reset_after_effect", "times": 2 }));
    let doubt = post(proxy, "/v1/charges", &[], "amount=700&currency=usd&source=tok_visa");
    assert_eq!(doubt.status, 504, "{doubt:?}");
    // A policy that is refused, one that is taken, and what it only observes.
    write(directory.path(), "policy.toml", "version = 1\nmode = \"no\"\n");
    payonce.line("the new policy is refused");
    write(directory.path(), "policy.toml", &policy("observe"));
    payonce.line("the new policy is in force");
    until(proxy, "/v1/balance", |_| true);
    assert_eq!(
        post(proxy, "/v1/charges", &[], "amount=900&currency=usd&source=tok_visa").status,
        200
    );
    payonce.signal("TERM");
    // Each of them is held against the schema as it is read.
    let (_code, lines) = payonce.ended();
    assert!(lines.iter().all(|line| line.starts_with("{\"timestamp\"")), "{lines:#?}");
    let told = |what: &str| lines.iter().any(|line| line.contains(what));
    for what in [
        "payonce starts",
        "\"operation\"",
        "\"refused\"",
        "would have been kept to once",
        "payonce has stopped",
        "in_doubt",
        TRACE,
    ] {
        assert!(told(what), "no {what} in {lines:#?}");
    }
}
