//! What an event says, as far as payonce needs it. Pure.
//!
//! Read after its signature was found good, and leniently: Stripe may say more tomorrow. Both forms
//! are known, *snapshot* events (v1: `object: "event"`, with the object in `data.object`) and *thin*
//! ones (v2: `object: "v2.core.event"`, with a `related_object` and a `reason`).

use std::fmt;

use serde_json::Value;

/// Longest id, type or account that is taken, in bytes.
const LONGEST: usize = 255;

/// Objects that are there, or are changed, also where the request that bore the key was declined:
/// that one was made says nothing about how the request ended.
const ALSO_WHEN_DECLINED: [&str; 6] =
    ["payment_intent", "setup_intent", "charge", "invoice", "subscription", "setup_attempt"];

/// Last words of event types that only a request which succeeded brings about.
const SUCCESS: [&str; 7] =
    ["succeeded", "payment_succeeded", "paid", "payment_paid", "captured", "refunded", "reversed"];

/// Last words that are also of steps on the way to what may be declined then, as where a draft
/// invoice is paid: they prove that a request succeeded which asked for just that step.
const STEPS: [(&str, &str); 2] = [("finalized", "finalize"), ("voided", "void")];

/// Fields by which one object names another.
const NAMES: [&str; 6] =
    ["payment_intent", "setup_intent", "charge", "invoice", "subscription", "refund"];

/// Why a body is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnEvent {
    /// Not JSON, or not an object.
    #[error("the body is not a JSON object")]
    NotJson,
    /// Nothing to know it by again.
    #[error("the body has no event id")]
    NoId,
}

/// What an event says. `Debug` shows no key.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    /// `evt_…`
    pub id: String,
    /// `charge.succeeded`; empty if it does not say.
    pub kind: String,
    /// The connected account that it happened in (v2: its context), where that is not the
    /// endpoint's own.
    pub account: Option<String>,
    /// The request that brought it about.
    pub request: Option<Request>,
    /// What it is about.
    pub object: Option<Object>,
}

/// The request that brought an event about.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// `req_…`
    pub id: Option<String>,
    /// The key that it bore.
    pub key: String,
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// `ch_…`
    pub id: String,
    /// `charge`
    pub kind: String,
    /// Other objects that it names: of a charge, `payment_intent` and its id.
    names: Vec<(String, String)>,
}

/// What an event says about the request whose key it bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It was executed, and succeeded.
    Succeeded,
    /// It was executed; how it ended, this event does not tell. (Not even one that says "failed":
    /// a request can try more than one card.)
    Executed,
}

impl Event {
    /// Reads an event's raw body.
    ///
    /// # Errors
    /// [`NotAnEvent`], where it cannot be known again.
    pub fn read(body: &[u8]) -> Result<Self, NotAnEvent> {
        let value: Value = serde_json::from_slice(body).map_err(|_bad| NotAnEvent::NotJson)?;
        if !value.is_object() {
            return Err(NotAnEvent::NotJson);
        }
        let at = |path: &str| word(value.pointer(path));
        let (request, object) = if at("/object").as_deref() == Some("v2.core.event") {
            ("/reason/request", Object::read(value.pointer("/related_object"), "type"))
        } else {
            ("/request", Object::read(value.pointer("/data/object"), "object"))
        };
        Ok(Self {
            id: at("/id").ok_or(NotAnEvent::NoId)?,
            kind: at("/type").unwrap_or_default(),
            account: at("/account").or_else(|| at("/context")),
            request: at(&format!("{request}/idempotency_key"))
                .map(|key| Request { id: at(&format!("{request}/id")), key }),
            object,
        })
    }

    /// What it says about the request (`POST /v1/charges`) whose key it bears.
    #[must_use]
    pub fn proof(&self, request: &str) -> Proof {
        let last = self.kind.rsplit('.').next().unwrap_or_default();
        let object = self.object.as_ref().map_or("", |object| object.kind.as_str());
        let made = last == "created"
            && !object.is_empty()
            && !ALSO_WHEN_DECLINED.contains(&object.rsplit('.').next().unwrap_or_default());
        let asked = request.rsplit('/').next().unwrap_or_default();
        let stepped = STEPS.contains(&(last, asked));
        if SUCCESS.contains(&last) || made || stepped { Proof::Succeeded } else { Proof::Executed }
    }

    /// The object that `request` (`POST /v1/charges`) made or changed, as far as the event names it.
    #[must_use]
    pub fn object_of(&self, request: &str) -> Option<String> {
        let object = self.object.as_ref()?;
        let path = request.rsplit(' ').next().unwrap_or_default();
        path.rsplit('/').filter(|segment| !segment.is_empty()).find_map(|segment| {
            let one = segment.strip_suffix('s').unwrap_or(segment);
            let named = || object.names.iter().find(|(name, _)| name == one);
            if object.kind.rsplit('.').next() == Some(one) {
                Some(object.id.clone())
            } else {
                named().map(|(_, id)| id.clone())
            }
        })
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event({} {}, with a key: {})", self.id, self.kind, self.request.is_some())
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({:?}, a key of {} bytes)", self.id, self.key.len())
    }
}

impl Object {
    /// What stands in `from`; its kind is in the field `kind`.
    fn read(from: Option<&Value>, kind: &str) -> Option<Self> {
        let from = from?;
        let field = |name: &&str| Some(((*name).to_owned(), word(from.get(name))?));
        Some(Self {
            id: word(from.get("id"))?,
            kind: word(from.get(kind)).unwrap_or_default(),
            names: NAMES.iter().filter_map(field).collect(),
        })
    }
}

/// Text of printable ASCII, as ids, types and keys are.
fn word(value: Option<&Value>) -> Option<String> {
    let text = value?.as_str()?;
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    (plain && (1..=LONGEST).contains(&text.len())).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(event: &Value) -> Event {
        Event::read(event.to_string().as_bytes()).unwrap()
    }

    fn snapshot_event(kind: &str, object: &Value) -> Event {
        read(&json!({
            "id": "evt_1", "object": "event", "type": kind, "livemode": false,
            "data": { "object": object },
            "request": { "id": "req_1", "idempotency_key": "order-42" },
        }))
    }

    #[test]
    fn a_snapshot_event_tells_its_request_and_its_object() {
        let event =
            snapshot_event("charge.succeeded", &json!({ "id": "ch_1", "object": "charge" }));
        let request = event.request.as_ref().unwrap();
        assert_eq!((request.id.as_deref(), request.key.as_str()), (Some("req_1"), "order-42"));
        assert_eq!(event.object_of("POST /v1/charges").as_deref(), Some("ch_1"));
        let proof = event.proof("POST /v1/charges");
        assert_eq!((event.account.as_ref(), proof), (None, Proof::Succeeded));
    }

    #[test]
    fn a_thin_event_tells_the_same_in_its_own_way() {
        let event = read(&json!({
            "id": "evt_test_1", "object": "v2.core.event", "type": "v2.core.account.created",
            "context": "acct_9", "created": "2026-08-26T00:00:00Z",
            "related_object": { "id": "acct_1", "type": "v2.core.account", "url": "/v2/x" },
            "reason": { "type": "request", "request": { "id": "req_2", "idempotency_key": "k" } },
        }));
        assert_eq!(event.request.as_ref().unwrap().key, "k");
        assert_eq!(event.object_of("POST /v2/core/accounts").as_deref(), Some("acct_1"));
        assert_eq!(event.account.as_deref(), Some("acct_9"));
        assert_eq!(event.proof("POST /v2/core/accounts"), Proof::Succeeded);
    }

    #[test]
    fn an_event_that_no_request_brought_about_names_none() {
        for request in [json!(null), json!("req_1"), json!({ "id": "req_1" })] {
            let event = read(&json!({ "id": "evt_1", "type": "payout.paid", "request": request }));
            assert_eq!(event.request, None);
        }
    }

    #[test]
    fn only_what_a_declined_request_cannot_bring_about_proves_success() {
        for (kind, object, proof) in [
            ("payment_intent.succeeded", "payment_intent", Proof::Succeeded),
            ("invoice.payment_succeeded", "invoice", Proof::Succeeded),
            ("charge.captured", "charge", Proof::Succeeded),
            ("refund.created", "refund", Proof::Succeeded),
            ("customer.created", "customer", Proof::Succeeded),
            ("payment_intent.created", "payment_intent", Proof::Executed),
            ("payment_intent.payment_failed", "payment_intent", Proof::Executed),
            ("payment_intent.requires_action", "payment_intent", Proof::Executed),
            ("charge.failed", "charge", Proof::Executed),
            ("customer.updated", "customer", Proof::Executed),
            ("something.created", "", Proof::Executed),
            ("", "", Proof::Executed),
        ] {
            let event = snapshot_event(kind, &json!({ "id": "x_1", "object": object }));
            assert_eq!(event.proof("POST /v1/any"), proof, "{kind}");
        }
    }

    /// To pay a draft is to finalize it first, and the card may be declined after that.
    #[test]
    fn a_step_on_the_way_proves_the_success_of_that_step_alone() {
        let invoice = json!({ "id": "in_1", "object": "invoice" });
        for (kind, request, proof) in [
            ("invoice.finalized", "POST /v1/invoices/in_1/finalize", Proof::Succeeded),
            ("invoice.finalized", "POST /v1/invoices/in_1/pay", Proof::Executed),
            ("invoice.paid", "POST /v1/invoices/in_1/pay", Proof::Succeeded),
            ("invoice.voided", "POST /v1/invoices/in_1/void", Proof::Succeeded),
            ("invoice.voided", "POST /v1/subscriptions", Proof::Executed),
        ] {
            assert_eq!(snapshot_event(kind, &invoice).proof(request), proof, "{kind} {request}");
        }
    }

    #[test]
    fn the_object_is_the_one_that_was_asked_for() {
        let object = json!({ "id": "ch_1", "object": "charge", "payment_intent": "pi_1" });
        let charge = snapshot_event("charge.succeeded", &object);
        for (request, id) in [
            ("POST /v1/charges", Some("ch_1")),
            ("POST /v1/charges/ch_1/capture", Some("ch_1")),
            ("POST /v1/payment_intents", Some("pi_1")),
            ("POST /v1/payment_intents/pi_1/confirm", Some("pi_1")),
            ("POST /v1/refunds", None),
            ("POST /v1/customers", None),
        ] {
            assert_eq!(charge.object_of(request).as_deref(), id, "{request}");
        }
    }

    #[test]
    fn what_cannot_be_known_again_is_no_event() {
        for (body, why) in [
            ("", NotAnEvent::NotJson),
            ("[1]", NotAnEvent::NotJson),
            ("{}", NotAnEvent::NoId),
            (r#"{"id":7}"#, NotAnEvent::NoId),
            (r#"{"id":""}"#, NotAnEvent::NoId),
            (r#"{"id":"evt_\u0000"}"#, NotAnEvent::NoId),
        ] {
            assert_eq!(Event::read(body.as_bytes()), Err(why), "{body}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let event = snapshot_event("charge.succeeded", &json!({ "id": "ch_1" }));
        assert!(!format!("{event:?} {:?}", event.request).contains("order-42"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_event_or_none(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let read = Event::read(&body);
            prop_assert!(read.is_ok() || read.is_err());
        }
    }
}
