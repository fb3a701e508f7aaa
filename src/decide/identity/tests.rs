use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;

use super::super::canonical::{self, FieldPattern};
use super::super::digest::key_digest;
use super::super::policy::{Class, ClientKey, Indeterminate, StoreDown};
use super::*;

mod fingerprint;

const FORM: &str = "application/x-www-form-urlencoded";

/// A request that says everything that an identity could be made of.
#[derive(Clone, Debug)]
struct Asked {
    provider: &'static str,
    scope: Scope,
    method: &'static str,
    path: &'static str,
    header: Option<&'static str>,
    key: Option<(&'static str, Chosen)>,
    body: String,
    nonce: u8,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            provider: "api.stripe.com",
            scope: Scope::of(b"sk_test_1", None, None),
            method: "POST",
            path: "/v1/charges",
            header: None,
            key: None,
            body: "amount=500&customer=cus_1&metadata[order_id]=42".to_owned(),
            nonce: 0,
        }
    }
}

impl Asked {
    fn identified(&self, rule: &Rule) -> Result<Identified, Unidentified> {
        self.by(&Secret::configured(b"secret"), rule)
    }

    fn by(&self, secret: &Secret, rule: &Rule) -> Result<Identified, Unidentified> {
        let target = Target::parse(self.path).unwrap();
        let key = self.key.map(|(text, by)| (IdempotencyKey::parse(text.as_bytes()).unwrap(), by));
        let content = canonical::read(Some(FORM), None, target.query(), self.body.as_bytes());
        let request = Request {
            provider: self.provider,
            method: self.method,
            target: &target,
            header: self.header,
            client_key: key.as_ref().map(|(key, by)| (key, *by)),
            content: &content,
            nonce: [self.nonce; 16],
            own_scope: &self.scope,
        };
        identify(secret, &self.scope, &request, rule)
    }

    fn kind(&self, rule: &Rule) -> Kind {
        self.identified(rule).unwrap().kind
    }

    fn operation(&self, rule: &Rule) -> OperationId {
        self.identified(rule).unwrap().operation
    }
}

fn with_body(body: &str) -> Asked {
    Asked { body: body.to_owned(), ..Asked::default() }
}

fn rule(identity: IdentityRule) -> Rule {
    Rule {
        name: "charges".to_owned(),
        class: Class::Critical,
        mode: None,
        client_key: ClientKey::Optional,
        require_field: Vec::new(),
        identity,
        distinguishes: vec![FieldPattern::parse("customer").unwrap()],
        merge: Merge::Lost,
        repeat_window: Duration::ZERO,
        store_down: StoreDown::Derive,
        indeterminate: Indeterminate::Hold,
        finish: None,
        patterns: Vec::new(),
        line: 0,
    }
}

fn by_content() -> Rule {
    rule(IdentityRule::Content)
}

fn by_fields(otherwise: Otherwise) -> Rule {
    let names = vec![FieldPattern::parse("metadata[order_id]").unwrap()];
    rule(IdentityRule::Fields { names, otherwise })
}

const OWN: Option<(&str, Chosen)> = Some(("order-42", Chosen::ByApplication));
const SDK: Option<(&str, Chosen)> = Some(("sdk-1", Chosen::BySdk { uuid: false }));
const SDK_UUID4: Option<(&str, Chosen)> = Some(("sdk-4", Chosen::BySdk { uuid: true }));

#[test]
fn the_first_kind_that_applies_is_the_identity() {
    let fields = by_fields(Otherwise::Content);
    let full = Asked { header: Some("op-1"), key: OWN, ..Asked::default() };
    assert_eq!(full.kind(&fields), Kind::Header);
    let no_header = Asked { header: None, ..full };
    assert_eq!(no_header.kind(&fields), Kind::Fields);
    let no_fields = Asked { body: "amount=500&customer=cus_1".to_owned(), ..no_header };
    assert_eq!(no_fields.kind(&fields), Kind::OwnKey);
    for key in [None, SDK, SDK_UUID4] {
        assert_eq!(Asked { key, ..no_fields.clone() }.kind(&fields), Kind::Content);
    }
    let indistinct = Asked { key: SDK, body: "amount=500".to_owned(), ..no_fields };
    assert_eq!(indistinct.kind(&fields), Kind::Call);
}

#[test]
fn the_rule_says_what_counts() {
    let asked = Asked { key: SDK, ..Asked::default() };
    assert_eq!(asked.kind(&rule(IdentityRule::Call)), Kind::Call);
    assert_eq!(asked.kind(&by_content()), Kind::Content);
    let own = Asked { key: OWN, ..asked.clone() };
    assert_eq!(own.kind(&by_content()), Kind::OwnKey, "an own key is never merged by content");
    assert_eq!(own.kind(&rule(IdentityRule::Call)), Kind::OwnKey);
    let nothing = Rule { distinguishes: Vec::new(), ..by_content() };
    assert_eq!(asked.kind(&nothing), Kind::Call);
    let empty = with_body("amount=500&customer=");
    assert_eq!(empty.kind(&by_content()), Kind::Call, "an empty field distinguishes nothing");
}

#[test]
fn without_its_fields_a_rule_says_what_else() {
    for body in [
        "amount=500&customer=cus_1",
        "customer=c&metadata[order_id]=",
        "customer=c&metadata[order_id]=1&metadata[order_id]=2",
    ] {
        let asked = Asked { key: SDK, ..with_body(body) };
        assert_eq!(asked.kind(&by_fields(Otherwise::Content)), Kind::Content, "{body}");
        assert_eq!(asked.kind(&by_fields(Otherwise::Call)), Kind::Call, "{body}");
        let refused = asked.identified(&by_fields(Otherwise::Refuse)).unwrap_err();
        assert_eq!(refused, Unidentified::FieldsMissing(vec!["metadata[order_id]".to_owned()]));
        let own = Asked { key: OWN, ..asked };
        assert_eq!(own.kind(&by_fields(Otherwise::Refuse)), Kind::OwnKey, "{body}");
    }
}

#[test]
fn a_rule_may_want_an_own_key() {
    let rule = Rule { client_key: ClientKey::Required, ..by_content() };
    for key in [None, SDK, SDK_UUID4] {
        let refused = Asked { key, ..Asked::default() }.identified(&rule).unwrap_err();
        assert_eq!(refused, Unidentified::OwnKeyRequired);
    }
    assert_eq!(Asked { key: OWN, ..Asked::default() }.kind(&rule), Kind::OwnKey);
}

#[test]
fn nothing_is_shared_across_provider_scope_method_or_path() {
    let others = [
        Asked::default(),
        Asked { provider: "localhost", ..Asked::default() },
        Asked { scope: Scope::of(b"sk_test_2", None, None), ..Asked::default() },
        Asked { scope: Scope::of(b"sk_test_1", Some(b"acct_1"), None), ..Asked::default() },
        Asked { method: "DELETE", ..Asked::default() },
        Asked { path: "/v1/refunds", ..Asked::default() },
        Asked { path: "/v1/charges/ch_1", ..Asked::default() },
    ];
    for (kind, rule, header, key) in [
        (Kind::Header, by_content(), Some("op-1"), None),
        (Kind::Fields, by_fields(Otherwise::Call), None, None),
        (Kind::OwnKey, by_content(), None, OWN),
        (Kind::Content, by_content(), None, None),
        (Kind::Call, rule(IdentityRule::Call), None, SDK),
    ] {
        let asked = others.clone().map(|it| Asked { header, key, ..it });
        assert!(asked.iter().all(|it| it.kind(&rule) == kind));
        let ids: HashSet<OperationId> = asked.iter().map(|it| it.operation(&rule)).collect();
        assert_eq!(ids.len(), asked.len(), "{kind:?}");
    }
}

#[test]
fn kinds_of_identity_do_not_meet() {
    let header = Asked { header: Some("order-42"), ..Asked::default() };
    let own = Asked { key: OWN, ..Asked::default() };
    assert_ne!(header.operation(&by_content()), own.operation(&by_content()));
}

#[test]
fn what_the_identity_does_not_look_at_does_not_change_it() {
    let one = Asked { header: Some("op-1"), key: SDK, ..Asked::default() };
    let other = Asked { key: OWN, nonce: 9, body: "amount=1".to_owned(), ..one.clone() };
    assert_eq!(one.operation(&by_content()), other.operation(&by_content()));
    let order = with_body("amount=1&metadata[order_id]=42");
    let rule = by_fields(Otherwise::Call);
    assert_eq!(order.operation(&rule), Asked::default().operation(&rule));
    let spelt = with_body("metadata%5Border_id%5D=42&customer=cus%5F1&amount=500");
    assert_eq!(spelt.operation(&by_content()), Asked::default().operation(&by_content()));
}

#[test]
fn every_call_is_an_operation_of_its_own() {
    let rule = rule(IdentityRule::Call);
    let call = |key, nonce| Asked { key, nonce, ..Asked::default() }.operation(&rule);
    assert_ne!(call(None, 1), call(None, 2));
    assert_ne!(call(SDK, 1), call(SDK_UUID4, 1));
    assert_eq!(call(SDK, 1), call(SDK, 2), "a call that is retried with its key is the same call");
}

#[test]
fn confirming_again_after_requires_action_is_a_call_of_its_own() {
    let confirm = |key| Asked {
        path: "/v1/payment_intents/pi_1/confirm",
        key: Some((key, Chosen::BySdk { uuid: false })),
        ..with_body("return_url=https://shop.example")
    };
    let (first, again) = (confirm("sdk-1"), confirm("sdk-2"));
    let rule = rule(IdentityRule::Call);
    assert_eq!((first.kind(&rule), again.kind(&rule)), (Kind::Call, Kind::Call));
    assert_ne!(first.operation(&rule), again.operation(&rule));
}

#[test]
fn operation_ids_depend_on_the_secret() {
    let asked = Asked::default();
    let id = |secret| asked.by(&secret, &by_content()).unwrap().operation;
    let ids: HashSet<OperationId> = [
        id(Secret::configured(b"one")),
        id(Secret::configured(b"two")),
        id(Secret::of_api_key(b"one")),
    ]
    .into();
    assert_eq!(ids.len(), 3);
}

/// Were these to change, an upgrade would not find what is under way. The ids of an earlier format
/// are found beside them, so that they must not change either.
#[test]
fn operation_ids_never_change() {
    let first = Scope::first_format(b"sk_test_1", None, None);
    let ids = |scope| {
        let header = Asked { header: Some("op-1"), scope, ..Asked::default() };
        let own = Asked { key: OWN, scope, ..Asked::default() };
        let other = Asked { scope, ..Asked::default() };
        [
            header.operation(&by_content()),
            own.operation(&by_content()),
            other.operation(&by_fields(Otherwise::Call)),
            other.operation(&by_content()),
        ]
        .map(|id| id.to_string())
    };
    assert_eq!(
        ids(first),
        [
            "2c6402960827f6d6a74f983d560d59f41de8cf6844329d768c3d570179145bce",
            "dea58d53b80f0bc35e0d710d91ee4b0943c61e96977108cd92b23b5ef6a54d79",
            "da3d7ede62cba52aca11e62df085aa402a4bc31231a7a67625b0098082ea374e",
            "7a521f88f149915a5f5f971426b3689c13eec54c0e1c5446cfa285c09bb32716",
        ]
    );
    assert_eq!(
        ids(Asked::default().scope),
        [
            "15a4ca747f755a24ba2fc98b53cbf929bec93ae28ea0f1d1cc12eb56850d1033",
            "938187a66beefc528e9f409f71e179edb72734bcb0af35d838844abdda75f4bc",
            "22ba263bcf632bfa7f19ea265d20bf7fabd8a6005e536ad9c3e3740ffae64b4a",
            "b438372d277929134118a60700004576a4d54c56d8d31d73842fa9f018a0a767",
        ]
    );
}

#[test]
fn a_uuid4_of_an_sdk_is_never_a_twin() {
    let twins = Rule { merge: Merge::Twins, ..by_content() };
    for (key, expected) in [(None, true), (SDK, true), (SDK_UUID4, false)] {
        let asked = Asked { key, ..Asked::default() };
        assert_eq!(asked.identified(&twins).unwrap().twins, expected, "{key:?}");
        assert!(!asked.identified(&by_content()).unwrap().twins);
    }
}

#[test]
fn a_client_key_counts_with_its_content() {
    let digest = |key, body: &str| {
        let asked = Asked { key, ..with_body(body) };
        asked.identified(&by_content()).unwrap().client_key
    };
    assert_eq!(digest(None, "a=1"), None);
    assert_eq!(digest(SDK, "a=1"), digest(SDK, "a=1"));
    assert_ne!(digest(SDK, "a=1"), digest(SDK, "a=2"));
    assert_ne!(digest(SDK, "a=1"), digest(SDK_UUID4, "a=1"));
}

#[test]
fn an_absent_account_is_not_an_empty_one() {
    let scopes: Vec<Scope> = [
        (None, None),
        (Some(&b""[..]), None),
        (None, Some(&b""[..])),
        (Some(b""), Some(b"")),
        (Some(b"acct_1"), None),
        (None, Some(b"acct_1")),
        (Some(b"a\x01b"), None),
        (Some(b"a"), Some(b"b\0")),
    ]
    .into_iter()
    .map(|(account, context)| Scope::of(b"sk", account, context))
    .collect();
    assert_eq!(scopes.iter().collect::<HashSet<_>>().len(), scopes.len());
}

proptest! {
    /// No two lists of parts have one digest: each part goes with its length.
    #[test]
    fn parts_cannot_be_moved_across_their_borders(
        one in prop::collection::vec("[ab]{0,3}", 0..4),
        other in prop::collection::vec("[ab]{0,3}", 0..4),
    ) {
        let secret = Secret::configured(b"secret");
        let digest = |parts: &[String]| {
            secret.digest(&parts.iter().map(String::as_bytes).collect::<Vec<_>>())
        };
        prop_assert_eq!(digest(&one) == digest(&other), one == other);
    }

    #[test]
    fn a_scope_is_as_injective(
        one in ("[ab]{0,2}", prop::option::of("[ab]{0,2}"), prop::option::of("[ab]{0,2}")),
        other in ("[ab]{0,2}", prop::option::of("[ab]{0,2}"), prop::option::of("[ab]{0,2}")),
    ) {
        let scope = |(key, account, context): &(String, Option<String>, Option<String>)| {
            let bytes = |text: &Option<String>| text.clone().map(String::into_bytes);
            Scope::of(key.as_bytes(), bytes(account).as_deref(), bytes(context).as_deref())
        };
        prop_assert_eq!(scope(&one) == scope(&other), one == other);
    }
}

#[test]
fn nothing_secret_is_told_by_what_is_printed() {
    let asked = Asked {
        scope: Scope::of(b"sk_test_hidden", Some(b"acct_hidden"), None),
        header: Some("op-hidden"),
        key: Some(("key-hidden", Chosen::ByApplication)),
        ..with_body("amount=hidden&customer=cus_hidden")
    };
    let identified = asked.identified(&by_content()).unwrap();
    let secret = Secret::configured(b"hidden");
    let printed = format!("{identified:?} {secret:?} {:?}", asked.scope);
    assert!(!printed.contains("hidden"), "{printed}");
    let content = canonical::read(Some(FORM), None, None, asked.body.as_bytes());
    assert!(!format!("{content:?}").contains("hidden"));
}

#[test]
fn a_key_is_looked_up_by_a_digest_of_its_own() {
    assert_eq!(key_digest("order-42"), key_digest("order-42"));
    assert_ne!(key_digest("order-42"), key_digest("order-43"));
}
