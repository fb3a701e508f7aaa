use sha2::{Digest, Sha256};

use super::super::operation::Occurrence;
use super::*;

const NODE: &str = "Stripe/v1 NodeBindings/23.1.0";
const GO: &str = "Stripe/v1 GoBindings/86.2.0";
const PYTHON: &str = "Stripe/v1 PythonBindings/16.1.0";
const PYTHON_15_4: &str = "Stripe/v1 PythonBindings/15.4.0";
const PYTHON_15_3: &str = "Stripe/v1 PythonBindings/15.3.9";
const PYTHON_7: &str = "Stripe/v1 PythonBindings/7.14.0";
const RUBY: &str = "Stripe/v1 RubyBindings/19.5.0";
const PHP: &str = "Stripe/v1 PhpBindings/21.0.0";
const DOTNET: &str = "Stripe/V1 .NetBindings/52.2.0";
const JAVA: &str = "Stripe/v1 JavaBindings/29.1.0-beta.1";
const RUST: &str = "Stripe/v1 RustBindings/1.0.0-rc.6";

const UUID4: &str = "9b2d3c1e-4f5a-4b6c-8d7e-0f1a2b3c4d5e";
const NODE_KEY: &str = "stripe-node-retry-9b2d3c1e-4f5a-4b6c-8d7e-0f1a2b3c4d5e";
const GO_KEY: &str = "1764000000123456789_aB3_-9";
/// No RFC 9562 UUID: the variant is 0.
const PYTHON_KEY: &str = "9b2d3c1e-4f5a-4b6c-0d7e-0f1a2b3c4d5e";

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::parse(text.as_bytes()).unwrap()
}

fn by(agent: &str, text: &str) -> Chosen {
    chosen(&key(text), Some(agent), Uuid4Keys::Sdk)
}

const SDK: Chosen = Chosen::BySdk { uuid: false };
const SDK_UUID: Chosen = Chosen::BySdk { uuid: true };
const OWN: Chosen = Chosen::ByApplication;

#[test]
fn each_sdk_is_known_by_the_keys_that_it_mints() {
    for (agent, text, expected) in [
        (NODE, NODE_KEY, SDK),
        (GO, GO_KEY, SDK),
        (PYTHON, PYTHON_KEY, SDK),
        (PYTHON_15_4, PYTHON_KEY, SDK),
        (PYTHON_15_3, UUID4, SDK_UUID),
        (PYTHON_7, UUID4, SDK_UUID),
        (RUBY, UUID4, SDK_UUID),
        (PHP, UUID4, SDK_UUID),
        (DOTNET, UUID4, SDK_UUID),
        (JAVA, UUID4, SDK_UUID),
        (RUST, UUID4, SDK_UUID),
    ] {
        assert_eq!(by(agent, text), expected, "{agent}");
        let suffixed = format!("{agent} App/1.2 (https://example.com) AIAgent/claude_code");
        assert_eq!(by(&suffixed, text), expected, "{suffixed}");
        assert_eq!(by(&agent.replace("/v1 ", "/v2 "), text), expected, "{agent} for v2");
    }
}

#[test]
fn a_key_of_another_shape_is_the_applications() {
    for (agent, text) in [
        (NODE, UUID4),
        (NODE, "stripe-node-retry-"),
        (NODE, "stripe-node-retry-order-42"),
        (NODE, "stripe-node-retry-9B2D3C1E-4F5A-4B6C-8D7E-0F1A2B3C4D5E"),
        (NODE, "stripe-node-retry-9b2d3c1e-4f5a-5b6c-8d7e-0f1a2b3c4d5e"),
        (NODE, GO_KEY),
        (GO, UUID4),
        (GO, "176400000012345678_aB3_-9"),
        (GO, "17640000001234567890_aB3_-9"),
        (GO, "1764000000123456789_aB3_-"),
        (GO, "1764000000123456789_aB3_-9x"),
        (GO, "1764000000123456789-aB3_-9"),
        (GO, "1764000000123456789_aB3+-9"),
        (GO, "176400000012345678x_aB3_-9"),
        (PYTHON, "order-42"),
        (PYTHON, "9b2d3c1e4f5a4b6c0d7e0f1a2b3c4d5e"),
        (PYTHON, "9B2D3C1E-4F5A-4B6C-0D7E-0F1A2B3C4D5E"),
        (PYTHON, "{9b2d3c1e-4f5a-4b6c-0d7e-0f1a2b3c4d5e}"),
        (PYTHON, "urn:uuid:9b2d3c1e-4f5a-4b6c-0d7e-0f1a2b3c4d5e"),
        (PYTHON_15_3, PYTHON_KEY),
        (PYTHON_7, PYTHON_KEY),
        (RUBY, "order-42"),
        (RUBY, PYTHON_KEY),
        (PHP, NODE_KEY),
        (JAVA, "9b2d3c1e-4f5a-4b6c-cd7e-0f1a2b3c4d5e"),
        (DOTNET, "9B2D3C1E-4F5A-4B6C-8D7E-0F1A2B3C4D5E"),
    ] {
        assert_eq!(by(agent, text), OWN, "{agent}: {text}");
    }
}

#[test]
fn without_an_sdk_every_key_is_the_applications() {
    let agents = [
        None,
        Some(""),
        Some("curl/8.5.0"),
        Some("Stripe/v1"),
        Some("Stripe/v1 "),
        Some("Stripe/v1 NodeBindings"),
        Some("Stripe/v3 NodeBindings/23.1.0"),
        Some("Stripe/v1 LispBindings/1.0.0"),
        Some("Stripe/1.0 (+https://stripe.com/docs/webhooks)"),
        Some("App/1.0 Stripe/v1 NodeBindings/23.1.0"),
    ];
    for agent in agents {
        for text in [UUID4, NODE_KEY, GO_KEY, PYTHON_KEY, "order-42"] {
            assert_eq!(chosen(&key(text), agent, Uuid4Keys::Sdk), OWN, "{agent:?}: {text}");
        }
    }
}

#[test]
fn a_uuid4_is_the_applications_where_the_policy_says_so() {
    let own = |agent, text| chosen(&key(text), Some(agent), Uuid4Keys::Own);
    for agent in [PYTHON, PYTHON_7, RUBY, PHP, DOTNET, JAVA, RUST] {
        assert_eq!(own(agent, UUID4), OWN, "{agent}");
    }
    assert_eq!(own(NODE, NODE_KEY), SDK);
    assert_eq!(own(GO, GO_KEY), SDK);
    assert_eq!(own(PYTHON, PYTHON_KEY), SDK);
}

/// UUIDs such as programs make, which Python's SDK mints by chance.
const CHOSEN: [(&str, &str); 7] = [
    ("v1 of 2026", "3e1f6a50-c8a1-11f0-8de9-0242ac120002"),
    ("v6 of 2026", "1f0c8a13-e1f6-6a50-8de9-0242ac120002"),
    ("v7 of 2026", "019ab5c0-7c00-7abc-8def-0123456789ab"),
    ("v3", "5df41881-3aed-3515-88a7-2f4a814cf09e"),
    ("v4", UUID4),
    ("v5", "2ed6657d-e927-568b-95e1-2665a8aea6a2"),
    ("v8", "5c146b14-3c52-8afd-938a-375d0df1fbf6"),
];

#[test]
fn a_uuid_under_python_is_the_sdks_unless_the_policy_says_that_the_application_mints_them() {
    for (what, text) in CHOSEN {
        assert_eq!(by(PYTHON, text), SDK_UUID, "{what}");
        assert_eq!(chosen(&key(text), Some(PYTHON), Uuid4Keys::Own), OWN, "{what}");
        // As other programs write them, or in other words, it is never the SDK's.
        assert_eq!(by(PYTHON, &text.to_uppercase()), OWN, "{what}");
        assert_eq!(by(PYTHON, &text.replace('-', "")), OWN, "{what}");
    }
}

/// `n` as 16 bytes that look random and are the same on every run.
fn random(n: u32) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(n.to_be_bytes()).into();
    digest[..16].try_into().unwrap()
}

#[test]
fn pythons_random_keys_are_recognised() {
    const KEYS: u32 = 100_000;
    let count = |uuid4_keys| {
        let is_sdk = |n: &u32| {
            let text = Uuid::from_bytes(random(*n)).hyphenated().to_string();
            chosen(&key(&text), Some(PYTHON), uuid4_keys) != Chosen::ByApplication
        };
        f64::from(u32::try_from((0..KEYS).filter(is_sdk).count()).unwrap()) / f64::from(KEYS)
    };
    let (sdk, own) = (count(Uuid4Keys::Sdk), count(Uuid4Keys::Own));
    println!(
        "python keys recognised: {:.2} % ({:.2} % where the application mints UUIDs)",
        sdk * 100.0,
        own * 100.0
    );
    assert!(sdk > 0.999_999, "{sdk}");
    assert!((0.93..0.95).contains(&own), "{own}");
}

#[test]
fn a_key_is_what_stripe_takes() {
    for text in ["a", " ", "order 42", "~!@#$%^&*()", &"x".repeat(255)] {
        assert_eq!(IdempotencyKey::parse(text.as_bytes()).unwrap().as_str(), text);
    }
    assert_eq!(IdempotencyKey::parse(b""), Err(BadKey::Empty));
    assert_eq!(IdempotencyKey::parse(&[b'x'; 256]), Err(BadKey::TooLong(256)));
    for bytes in [&b"a\n"[..], b"\x7f", b"a\0b", b"\xc3\xa9", b"\xff", b"\t"] {
        assert_eq!(IdempotencyKey::parse(bytes), Err(BadKey::NotPrintable), "{bytes:?}");
    }
}

#[test]
fn no_key_is_told_by_what_is_printed_of_it() {
    assert_eq!(format!("{:?}", key("order-42")), "IdempotencyKey(8 characters)");
    let complaint = IdempotencyKey::parse(b"order-42\n").unwrap_err().to_string();
    assert!(!complaint.contains("order"), "{complaint}");
}

fn derived(secret: &[u8], operation: u8, n: u32, epoch: u64) -> String {
    let secret = Secret::configured(secret);
    let at = Occurrence { epoch, n };
    IdempotencyKey::derived(&secret, &OperationId([operation; 32]), at).as_str().to_owned()
}

/// Were these to change, an upgrade would charge what is under way again.
#[test]
fn derivation_never_changes() {
    assert_eq!(derived(b"secret", 0, 0, 0), "d516055b-897c-806a-8c44-c7a81b659605");
    assert_eq!(derived(b"secret", 1, 2, 22_000), "b9d7d21c-95eb-86b5-81e8-908405c8a53c");
    let at = Occurrence { epoch: 22_000, n: 0 };
    let of_key = Secret::of_api_key(b"sk_test_123");
    let key = IdempotencyKey::derived(&of_key, &OperationId([7; 32]), at);
    assert_eq!(key.as_str(), "edea74b8-a71b-8c4a-9932-8078e7534711");
}

#[test]
fn derived_keys_are_version_8_uuids() {
    for n in 0..100 {
        let text = derived(b"secret", 0, n, 9);
        let uuid = Uuid::try_parse(&text).unwrap();
        assert_eq!((uuid.get_version_num(), uuid.get_variant()), (8, uuid::Variant::RFC4122));
        assert_eq!(uuid.hyphenated().to_string(), text);
    }
}

#[test]
fn derived_keys_differ_by_every_input() {
    let mut keys = std::collections::BTreeSet::new();
    for secret in [&b"one"[..], b"two"] {
        for operation in [0, 1] {
            for n in [0, 1, u32::MAX] {
                for epoch in [0, 1, u64::MAX] {
                    keys.insert(derived(secret, operation, n, epoch));
                }
            }
        }
    }
    assert_eq!(keys.len(), 2 * 2 * 3 * 3);
    assert_eq!(derived(b"one", 1, 1, 1), derived(b"one", 1, 1, 1));
}

/// One payonce behind another: what the first derived is no twin of anything at the second.
#[test]
fn a_derived_key_is_taken_for_the_applications_or_for_one_that_is_never_a_twin() {
    for agent in [NODE, GO, PYTHON_7, RUBY, PHP, DOTNET, JAVA, RUST] {
        assert_eq!(by(agent, &derived(b"secret", 0, 0, 0)), OWN, "{agent}");
    }
    assert_eq!(by(PYTHON, &derived(b"secret", 0, 0, 0)), SDK_UUID);
}

#[test]
fn a_minted_key_is_a_uuid4_of_its_random_bytes() {
    let minted = IdempotencyKey::minted([0xff; 16]);
    assert_eq!(minted.as_str(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    assert_ne!(minted, IdempotencyKey::minted([0; 16]));
}
