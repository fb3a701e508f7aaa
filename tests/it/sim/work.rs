//! What the applications want: operations of every kind that issue and design name, each with what
//! is promised of it.

use std::time::Duration;

use uuid::Builder;

use super::sky::Sky;
use crate::proof::verdict::{By, Keys, Promise};

/// How an application goes about an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Asks, and has the job delivered again, with a fresh SDK key, until there is an outcome.
    Redeliver,
    /// The same by two workers at two pods at once.
    Overlap,
    /// Asks again although it has read the answer: it was not committed.
    Uncommitted,
    /// Asks again with the same key alone.
    SameKey,
    /// Tries another card after a decline, or when the first attempt failed in any other way.
    OtherCard,
    /// Its API key is rolled before it asks again.
    Roll,
    /// Uses its key for other content once the first operation is done.
    Misuse,
}

/// One operation before it is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) intent: String,
    pub(crate) workload: &'static str,
    pub(crate) by: By,
    pub(crate) keys: Keys,
    pub(crate) promise: Promise,
    pub(crate) habit: Habit,
    pub(crate) path: &'static str,
    pub(crate) json: bool,
    /// More than one: each with another card.
    pub(crate) bodies: Vec<String>,
    /// Whose API key.
    pub(crate) shop: usize,
    pub(crate) own: Option<String>,
    pub(crate) header: Option<String>,
    pub(crate) start: Duration,
}

pub(crate) const CANARY_CARD: &str = "4242424242424242";
pub(crate) const CANARY_KEY: &str = "sk_live_canary4711";
/// The API keys of the shops; each is an account of its own.
pub(crate) const SHOPS: [&str; 3] =
    ["sk_test_shop_Canary0815", "sk_test_mart_Canary0815", "sk_test_bazaar_Canary0815"];
/// What they are rolled to.
pub(crate) const ROLLED: [&str; 3] =
    ["sk_test_shop_Canary4711", "sk_test_mart_Canary4711", "sk_test_bazaar_Canary4711"];

const SDK_KEYS: [Keys; 5] = [Keys::None, Keys::Uuid4, Keys::PythonHex, Keys::Node, Keys::Go];

/// A day's work: about `operations` operations within `span`.
pub(crate) fn plans(sky: &Sky, operations: usize, span: Duration) -> Vec<Plan> {
    let mut plans: Vec<Plan> = Vec::with_capacity(operations);
    let mut story = 0;
    while plans.len() < operations {
        story += 1;
        let start = span
            .mul_f64(f64::from(u32::try_from(sky.below(1 << 20)).unwrap()) / f64::from(1 << 20));
        plans.extend(one_story(sky, story, start));
    }
    plans
}

fn one_story(sky: &Sky, n: usize, start: Duration) -> Vec<Plan> {
    let keys = *sky.pick(&SDK_KEYS);
    let charge = |workload| Plan {
        intent: format!("{workload}-{n}"),
        workload,
        by: By::Content,
        keys,
        promise: Promise::Once,
        habit: Habit::Redeliver,
        path: "/v1/charges",
        json: false,
        bodies: vec![charge(n, "tok_visa")],
        shop: sky.below(SHOPS.len()),
        own: None,
        header: None,
        start,
    };
    match sky.below(21) {
        0..3 => vec![charge("content")],
        3 => declined(sky, charge("content-declined"), n),
        4..6 => vec![header(charge("header"), n)],
        6 => vec![own(charge("own"), n)],
        7..9 => vec![fields(charge("fields"), n, "pm_card_visa")],
        9 => vec![Plan { by: By::Call, path: "/v1/customers", ..same_key(charge("call"), sky) }],
        10..12 => twins(sky, &charge("twins"), start),
        12 => named_twins(sky, &charge("named-twins"), n),
        13 => {
            // A UUID is never a twin, for the application might have chosen it.
            let promise = match keys {
                Keys::Uuid4 | Keys::PythonHex => Promise::Measured,
                Keys::None | Keys::Node | Keys::Go | Keys::Own => Promise::OnceOrMerged,
            };
            let plan = Plan { path: "/v1/invoiceitems", bodies: vec![item(n)], ..charge("double") };
            vec![Plan { habit: Habit::Overlap, promise, ..plan }]
        }
        14 => overlap(sky, charge("overlap"), n),
        15 => cards(sky, charge("cards"), n),
        16 => vec![v2(sky, charge("v2"), n)],
        17 => uncommitted(sky, charge("uncommitted"), n),
        18 => scopes(&charge("scopes"), n),
        19 => rolled(sky, charge("rolled"), n),
        _ => vec![Plan { habit: Habit::Misuse, ..own(charge("misuse"), n) }],
    }
}

fn charge(n: usize, source: &str) -> String {
    format!(
        "amount=500&currency=usd&source={source}&description=order+{n}\
         &metadata[note]={CANARY_CARD}+{CANARY_KEY}"
    )
}

fn item(n: usize) -> String {
    format!("amount=500&currency=usd&customer=cus_1&metadata[order]={n}")
}

fn intent_body(n: usize, card: &str) -> String {
    format!("amount=900&currency=usd&confirm=true&payment_method={card}&metadata[order_id]={n}")
}

fn header(plan: Plan, n: usize) -> Plan {
    Plan { by: By::Header, header: Some(format!("{}-{n}", plan.workload)), ..plan }
}

fn own(plan: Plan, n: usize) -> Plan {
    Plan {
        by: By::OwnKey,
        keys: Keys::Own,
        own: Some(format!("key-of-{}-{n}", plan.workload)),
        ..plan
    }
}

fn fields(plan: Plan, n: usize, card: &str) -> Plan {
    let bodies = vec![intent_body(n, card)];
    Plan { by: By::Fields, path: "/v1/payment_intents", bodies, ..plan }
}

fn same_key(plan: Plan, sky: &Sky) -> Plan {
    let keys = *sky.pick(&SDK_KEYS[1..]);
    Plan { keys, habit: Habit::SameKey, ..plan }
}

/// A card that is always declined, by each kind of identity.
fn declined(sky: &Sky, plan: Plan, n: usize) -> Vec<Plan> {
    let bad = "tok_chargeDeclined";
    vec![match sky.below(3) {
        0 => Plan { bodies: vec![charge(n, bad)], ..plan },
        1 => Plan { bodies: vec![charge(n, bad)], ..header(plan, n) },
        _ => fields(plan, n, "pm_card_chargeDeclined"),
    }]
}

/// Byte-identical requests that are all meant, in turn or at once.
fn twins(sky: &Sky, plan: &Plan, start: Duration) -> Vec<Plan> {
    let apart = *sky.pick(&[0, 50, 3_000, 60_000]);
    let twin = |twin: u32| Plan {
        intent: format!("{}.{twin}", plan.intent),
        start: start + Duration::from_millis(apart) * twin,
        ..plan.clone()
    };
    (0..2 + u32::from(sky.chance(0.3))).map(twin).collect()
}

/// The same with names of their own: never merged.
fn named_twins(sky: &Sky, plan: &Plan, n: usize) -> Vec<Plan> {
    let by_header = sky.chance(0.5);
    let twin = |twin: usize| {
        let plan = Plan { intent: format!("{}-{twin}", plan.intent), ..plan.clone() };
        let name = n * 10 + twin;
        if by_header { header(plan, name) } else { own(plan, name) }
    };
    vec![twin(0), twin(1)]
}

/// One operation at two pods at once, where it has a name.
fn overlap(sky: &Sky, plan: Plan, n: usize) -> Vec<Plan> {
    let plan = Plan { habit: Habit::Overlap, ..plan };
    vec![match sky.below(4) {
        0 => header(plan, n),
        1 => own(plan, n),
        2 => fields(plan, n, "pm_card_visa"),
        // By content alone two at once count as two that are meant, if the first was delivered.
        _ => Plan { promise: Promise::Measured, ..plan },
    }]
}

fn cards(sky: &Sky, plan: Plan, n: usize) -> Vec<Plan> {
    let first = *sky.pick(&["pm_card_visa", "pm_card_chargeDeclined"]);
    let bodies = vec![intent_body(n, first), intent_body(n, "pm_card_mastercard")];
    vec![Plan { bodies, habit: Habit::OtherCard, ..fields(plan, n, first) }]
}

fn v2(sky: &Sky, plan: Plan, n: usize) -> Plan {
    let body = format!("{{\"display_name\":\"a\",\"metadata\":{{\"order_id\":\"{n}\"}}}}");
    let plan = Plan { path: "/v2/core/accounts", json: true, bodies: vec![body], ..plan };
    match sky.below(3) {
        0 => header(plan, n),
        1 => own(plan, n),
        _ => Plan { by: By::Fields, ..plan },
    }
}

fn uncommitted(sky: &Sky, plan: Plan, n: usize) -> Vec<Plan> {
    let plan = Plan { habit: Habit::Uncommitted, ..plan };
    vec![match sky.below(4) {
        0 => header(plan, n),
        1 => own(plan, n),
        2 => fields(plan, n, "pm_card_visa"),
        // What was read and not committed, content cannot see.
        _ => Plan { promise: Promise::Measured, workload: "uncommitted content", ..plan },
    }]
}

/// A new API key of the same account: another scope, so that only an own key, which the provider
/// itself knows again, still names the operation.
fn rolled(sky: &Sky, plan: Plan, n: usize) -> Vec<Plan> {
    let plan = Plan { habit: Habit::Roll, ..plan };
    let unknown =
        Plan { promise: Promise::Measured, workload: "rolled without own key", ..plan.clone() };
    vec![match sky.below(3) {
        0 => own(plan, n),
        1 => header(unknown, n),
        _ => unknown,
    }]
}

/// The same content, key and name for two shops.
fn scopes(plan: &Plan, n: usize) -> Vec<Plan> {
    let one =
        |shop: usize| Plan { intent: format!("{}-{shop}", plan.intent), shop, ..plan.clone() };
    let named = |shop: usize| header(one(shop), n);
    vec![named(0), named(1), own(one(2), n)]
}

/// A key as the SDK mints it for one call, and its User-Agent.
pub(crate) fn minted(keys: Keys, random: [u8; 16], now_millis: u64) -> Option<String> {
    let uuid4 = || Builder::from_random_bytes(random).into_uuid().to_string();
    match keys {
        Keys::None | Keys::Own => None,
        Keys::Uuid4 => Some(uuid4()),
        Keys::PythonHex => Some(Builder::from_bytes(random).into_uuid().to_string()),
        Keys::Node => Some(format!("stripe-node-retry-{}", uuid4())),
        Keys::Go => {
            let nanos = u64::from_be_bytes(random[..8].try_into().unwrap()) % 1_000_000;
            Some(format!("{:013}{nanos:06}_{}", now_millis, &hex::encode(random)[..6]))
        }
    }
}

pub(crate) const fn user_agent(keys: Keys) -> &'static str {
    match keys {
        Keys::None => "Stripe/v1 PhpBindings/21.0.0",
        Keys::Uuid4 => "Stripe/v1 PythonBindings/15.3.0",
        Keys::PythonHex => "Stripe/v1 PythonBindings/16.1.0",
        Keys::Node => "Stripe/v1 NodeBindings/23.1.0",
        Keys::Go => "Stripe/v1 GoBindings/86.0.0",
        Keys::Own => "shop/1.0",
    }
}
