//! What the applications mean to do: stories of one or a few wanted operations. Pure: the seed
//! decides.
//!
//! Operations with byte-identical requests that are all meant (*twins*) bear one class.

use super::dice::Dice;
use crate::proof::verdict::{By, Keys, Operation, Promise};

/// The policy of these stories: charges by content, with twins; payment intents by their order if
/// they name one, else by content where the answer was lost; all else by call.
pub(crate) const POLICY: &str = r#"
version = 1

[[rule]]
name = "charges"
match = ["POST /v1/charges"]
class = "critical"
identity = "content"
distinguishes = ["source", "customer"]
merge = "twins"
repeat_window = "2s"

[[rule]]
name = "orders"
match = ["POST /v1/payment_intents"]
class = "critical"
identity = ["metadata[order_id]"]
otherwise = "content"
distinguishes = ["payment_method"]
merge = "lost"
"#;

/// A story's name.
pub(crate) const ANOTHER_CARD: &str = "declined, then another card";

/// All keys that an SDK mints, or none.
const MINTED: [Keys; 5] = [Keys::None, Keys::Uuid4, Keys::PythonHex, Keys::Node, Keys::Go];

/// Wanted operations, one after the other or at once.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) wants: Vec<Want>,
    pub(crate) at_once: bool,
}

/// One effect that an application wants.
#[derive(Clone, Debug)]
pub(crate) struct Want {
    pub(crate) operation: Operation,
    pub(crate) path: &'static str,
    pub(crate) body: String,
    /// `Payonce-Operation`.
    pub(crate) name: Option<String>,
    /// The key that the application chose, with [`Keys::Own`].
    pub(crate) own: String,
    /// The card is declined, and that is the end of it.
    pub(crate) declined: bool,
    /// The job that runs again bears the same key: it is one call.
    pub(crate) one_call: bool,
    pub(crate) twist: Twist,
}

/// What the application does besides asking until it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Twist {
    Nothing,
    /// It reads the first success and dies before it has written it down.
    Uncommitted,
    /// Its job is delivered to two workers at once, the first time.
    Doubled,
    /// When it is in doubt it asks once with this body.
    OtherBody(String),
    /// When it has succeeded it uses the key for this body, by mistake.
    Misused(String),
}

impl Want {
    fn new(intent: &str, workload: &'static str, by: By, keys: Keys) -> Self {
        Self {
            operation: Operation {
                intent: intent.to_owned(),
                class: intent.to_owned(),
                workload,
                by,
                keys,
                promise: Promise::Once,
                money: true,
                healed: false,
                heard: Vec::new(),
            },
            path: "/v1/payment_intents",
            body: pay(intent, "pm_card_visa"),
            name: None,
            own: format!("the-shop-{intent}"),
            declined: false,
            one_call: false,
            twist: Twist::Nothing,
        }
    }

    fn charge(mut self) -> Self {
        let class = &self.operation.class;
        self.body = format!("amount=700&currency=usd&source=tok_visa&description={class}");
        self.path = "/v1/charges";
        self
    }

    fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    fn class(mut self, class: &str) -> Self {
        class.clone_into(&mut self.operation.class);
        self.body = pay(class, "pm_card_visa");
        self
    }

    fn promise(mut self, promise: Promise) -> Self {
        self.operation.promise = promise;
        self
    }

    fn twist(mut self, twist: Twist) -> Self {
        self.twist = twist;
        self
    }

    fn body(mut self, body: String) -> Self {
        self.body = body;
        self
    }
}

/// A payment, confirmed at once. Cards and other payers' data must not be seen anywhere: the name
/// is searched for.
fn pay(what: &str, card: &str) -> String {
    format!(
        "amount=900&currency=usd&payment_method={card}&confirm=true&description={what}\
         &shipping[name]=Canary+Payer+4711"
    )
}

pub(crate) fn order(what: &str, card: &str) -> String {
    format!("{}&metadata[order_id]={what}", pay(what, card))
}

/// Stories of so many operations.
pub(crate) fn enough(dice: Dice, operations: usize, tell: fn(Dice, u64) -> Story) -> Vec<Story> {
    let (mut stories, mut left) = (Vec::new(), operations);
    for n in 0.. {
        if left == 0 {
            break;
        }
        let mut story = tell(dice, n);
        story.wants.truncate(left);
        left -= story.wants.len();
        stories.push(story);
    }
    stories
}

/// The `n`-th story.
pub(crate) fn story(dice: Dice, n: u64) -> Story {
    let id = format!("s{}-{n:05}", dice.0);
    let minted = dice.pick(&MINTED, "keys", &id, 0);
    let any = dice.pick(&Keys::ALL, "keys", &id, 0);
    match dice.below(100, "story", &id, 0) {
        0..18 => one(distinct(&id, any).charge()),
        18..34 => one(distinct(&id, any)),
        34..48 => one(by_fields(dice, &id, any)),
        48..58 => one(by_header(dice, &id, any)),
        58..64 => one(by_own_key(dice, &id)),
        64..74 => twins(dice, &id, minted),
        74..80 => twins_told_apart(dice, &id, any),
        80..86 => declined(dice, &id, minted),
        86..89 => one(version_2(&id, minted)),
        89..94 => one(one_call(&id, any)),
        94..96 => one(uncommitted(&id, minted)),
        96..98 => one(keyless_call(&id)),
        _ => one(misused(&id)),
    }
}

fn one(want: Want) -> Story {
    Story { wants: vec![want], at_once: false }
}

fn distinct(id: &str, keys: Keys) -> Want {
    let by = if keys == Keys::Own { By::OwnKey } else { By::Content };
    Want::new(id, "distinct, redelivered", by, keys)
}

fn twisted(dice: Dice, id: &str, want: Want, other: String) -> Want {
    match dice.below(4, "twist", id, 0) {
        0 => want.twist(Twist::Uncommitted),
        1 => want.twist(Twist::Doubled),
        2 => want.twist(Twist::OtherBody(other)),
        _ => want,
    }
}

fn by_fields(dice: Dice, id: &str, keys: Keys) -> Want {
    // An own key beside a header or fields does not count (DESIGN §2).
    let want = Want::new(id, "identity fields", By::Fields, keys);
    let want = want.body(order(id, "pm_card_visa"));
    twisted(dice, id, want, order(id, "pm_card_mastercard"))
}

fn by_header(dice: Dice, id: &str, keys: Keys) -> Want {
    let want = Want::new(id, "Payonce-Operation", By::Header, keys).named(id).charge();
    let other = format!("{}&receipt_email=a%40example.com", want.body);
    twisted(dice, id, want, other)
}

fn by_own_key(dice: Dice, id: &str) -> Want {
    let want = Want::new(id, "own key", By::OwnKey, Keys::Own);
    match dice.below(3, "twist", id, 0) {
        0 => want.twist(Twist::Uncommitted),
        1 => want.twist(Twist::Doubled),
        _ => want,
    }
}

/// Twins that nothing but their calls tells apart: each is executed, unless the earlier one's
/// answer was lost, or the rule says `merge = "twins"`.
fn twins(dice: Dice, id: &str, keys: Keys) -> Story {
    let at_once = dice.percent(50, "at once", id, 0);
    let charges = dice.percent(30, "charges", id, 0);
    let workload = match (charges, at_once) {
        (true, _) => "twins, merge = twins",
        (false, true) => "twins at once",
        (false, false) => "twins in turn",
    };
    let twin = |which| {
        let want = Want::new(&format!("{id}-{which}"), workload, By::Content, keys).class(id);
        let want = want.promise(Promise::OnceOrMerged);
        if charges { want.charge() } else { want }
    };
    Story { wants: vec![twin("a"), twin("b")], at_once }
}

fn twins_told_apart(dice: Dice, id: &str, keys: Keys) -> Story {
    let own = keys == Keys::Own;
    let twin = |which| {
        let intent = format!("{id}-{which}");
        let by = if own { By::OwnKey } else { By::Header };
        let want = Want::new(&intent, "twins told apart", by, keys).class(id);
        if own { want } else { want.named(&intent) }
    };
    let at_once = dice.percent(50, "at once", id, 0);
    Story { wants: vec![twin("a"), twin("b"), twin("c")], at_once }
}

/// A card that is declined, and then another: the same order, or just another request.
fn declined(dice: Dice, id: &str, keys: Keys) -> Story {
    let named = dice.percent(60, "order", id, 0);
    let (by, body): (By, fn(&str, &str) -> String) =
        if named { (By::Fields, order) } else { (By::Content, pay) };
    let want = |which, card| {
        let want = Want::new(&format!("{id}-{which}"), ANOTHER_CARD, by, keys);
        want.body(body(id, card))
    };
    let mut first = want("a", "pm_card_chargeDeclined");
    first.declined = true;
    Story { wants: vec![first, want("b", "pm_card_visa")], at_once: false }
}

fn version_2(id: &str, keys: Keys) -> Want {
    let mut want = Want::new(id, "v2", By::Header, keys).named(id);
    want.path = "/v2/core/accounts";
    want.body = format!(r#"{{"display_name": "{id}", "contact_email": "a@example.com"}}"#);
    want.operation.money = false;
    want
}

/// A single call whose SDK does not give up: no rule recognises it, its own key does.
fn one_call(id: &str, keys: Keys) -> Want {
    let keys = if keys == Keys::None { Keys::Node } else { keys };
    let by = if keys == Keys::Own { By::OwnKey } else { By::Call };
    let mut want = Want::new(id, "one call", by, keys);
    want.path = "/v1/customers";
    want.body = format!("email={id}%40example.com");
    want.operation.money = false;
    want.one_call = true;
    want
}

/// Content cannot tell a job that runs again after its answer was read from a second purchase.
fn uncommitted(id: &str, keys: Keys) -> Want {
    let want = Want::new(id, "read, not committed", By::Content, keys);
    want.promise(Promise::Measured).twist(Twist::Uncommitted)
}

fn keyless_call(id: &str) -> Want {
    let mut want = Want::new(id, "one call without a key", By::Call, Keys::None);
    want.path = "/v1/customers";
    want.body = format!("email={id}%40example.com");
    want.operation.money = false;
    want.promise(Promise::Measured)
}

fn misused(id: &str) -> Want {
    let other = pay(&format!("{id}-other"), "pm_card_visa");
    Want::new(id, "the same key, another body", By::OwnKey, Keys::Own).twist(Twist::Misused(other))
}

/// The `n`-th purchase that everybody can make, with or without payonce.
pub(crate) fn purchase(dice: Dice, n: u64) -> Story {
    let id = format!("p{}-{n:05}", dice.0);
    let keys = Keys::PythonHex;
    match dice.below(100, "purchase", &id, 0) {
        0..40 => one(distinct(&id, keys).charge()),
        40..70 => one(distinct(&id, keys)),
        70..80 => {
            let twin = |which| {
                Want::new(&format!("{id}-{which}"), "twins in turn", By::Content, keys)
                    .class(&id)
                    .promise(Promise::OnceOrMerged)
            };
            Story { wants: vec![twin("a"), twin("b")], at_once: false }
        }
        80..90 => {
            let want = |which, card| {
                let want = Want::new(&format!("{id}-{which}"), ANOTHER_CARD, By::Content, keys);
                want.body(pay(&id, card))
            };
            let mut first = want("a", "pm_card_chargeDeclined");
            first.declined = true;
            Story { wants: vec![first, want("b", "pm_card_visa")], at_once: false }
        }
        _ => one(uncommitted(&id, keys)),
    }
}
