//! Idempotency keys, and who chose them: a line with the `User-Agent`, then the key.

use payonce::decide::key::{Chosen, IdempotencyKey, MAX_KEY_LENGTH, chosen, sdk_named};
use payonce::decide::policy::Uuid4Keys;

const NODE: &str = "Stripe/v1 NodeBindings/23.1.0";
const GO: &str = "Stripe/v1 GoBindings/86.2.0";
const PYTHON: &str = "Stripe/v1 PythonBindings/16.1.0";
const RUBY: &str = "Stripe/v1 RubyBindings/19.5.0";
const PYTHON_7: &str = "Stripe/v1 PythonBindings/7.14.0";

/// A key is taken as it is or refused; what one SDK mints is not taken for another's.
pub fn check(input: &[u8]) {
    let mut halves = input.splitn(2, |byte| *byte == b'\n');
    let (agent, sent) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    let good = (1..=MAX_KEY_LENGTH).contains(&sent.len())
        && sent.iter().all(|byte| *byte == b' ' || byte.is_ascii_graphic());
    let key = IdempotencyKey::parse(sent);
    assert_eq!(key.is_ok(), good);
    let Ok(key) = key else { return };
    assert_eq!(key.as_str().as_bytes(), sent);
    assert_eq!(format!("{key:?}"), format!("IdempotencyKey({} characters)", sent.len()));
    check_kinds(&key);
    if let Ok(agent) = std::str::from_utf8(agent) {
        check_agent(&key, agent);
    }
}

fn by_sdk(key: &IdempotencyKey, agent: &str) -> bool {
    chosen(key, Some(agent), Uuid4Keys::Sdk) != Chosen::ByApplication
}

fn check_kinds(key: &IdempotencyKey) {
    let [node, go, python, uuid4] = [NODE, GO, PYTHON, RUBY].map(|agent| by_sdk(key, agent));
    let shapes = [node, go, python].iter().filter(|it| **it).count();
    assert!(shapes <= 1, "minted by two SDKs: {node} {go} {python}");
    // Every UUIDv4 is hexadecimal, as Python writes it.
    assert!(!uuid4 || python);
    assert_eq!(by_sdk(key, PYTHON_7), uuid4);
    let text = key.as_str();
    assert!(!node || text.starts_with("stripe-node-retry-") && text.len() == 54);
    assert!(!go || text.len() == 26 && text.as_bytes()[19] == b'_');
    assert!(!python || text.len() == 36 && !text.bytes().any(|it| it.is_ascii_uppercase()));
    assert!(!uuid4 || text.as_bytes()[14] == b'4' && b"89ab".contains(&text.as_bytes()[19]));
}

fn check_agent(key: &IdempotencyKey, agent: &str) {
    for uuid4_keys in [Uuid4Keys::Sdk, Uuid4Keys::Own] {
        let one = chosen(key, Some(agent), uuid4_keys);
        let more = format!("{agent} App/1.2 (https://example.com)");
        // Without its version the next word would be taken for it.
        if sdk_named(agent).is_some() {
            assert_eq!(one, chosen(key, Some(&more), uuid4_keys), "{agent}");
        } else {
            assert_eq!(one, Chosen::ByApplication, "{agent} is no SDK");
        }
        assert_eq!(chosen(key, None, uuid4_keys), Chosen::ByApplication);
        if uuid4_keys == Uuid4Keys::Own {
            assert_ne!(one, Chosen::BySdk { uuid: true });
        }
    }
    if let Some(word) = sdk_named(agent) {
        let word = word.to_ascii_lowercase();
        assert!(word.contains("bindings/") && agent.to_ascii_lowercase().contains(&word));
    }
}
