//! What the applications mean to do: stories of one or a few wanted operations. Pure: the seed
//! decides.
//!
//! Operations with byte-identical requests that are all meant (*twins*) bear one class.

use payonce::sandbox::{Kind, Strike};

use super::dice::Dice;
use super::secrets::OWN;
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

[[rule]]
name = "impatient"
match = ["POST /v1/payouts"]
class = "critical"
identity = "content"
distinguishes = ["description"]
indeterminate = "next"

[[rule]]
name = "edited"
match = ["POST /v1/topups"]
class = "critical"
identity = "content"
merge = "lost"
distinguishes = ["description"]
"#;

/// What edits of the policy change.
pub(crate) const EDITED: &str =
    "identity = \"content\"\nmerge = \"lost\"\ndistinguishes = [\"description\"]";

/// Stories' names.
const ANOTHER_CARD: &str = "declined, then another card";
pub(crate) const ANOTHER_CARD_FOR_AN_ORDER: &str = "declined order, then another card";

/// In doubt, and asked with another body.
pub(crate) const OTHER_BODY: &str = "in doubt, asked with another body";
/// These end when a person says what happened, and nobody does.
pub(crate) const HELD: &str = "saved 500, held";

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
    /// What strikes its first request at the provider.
    pub(crate) fault: Option<Kind>,
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
    /// Its first answer is lost, and from then on it bears another API key of the same account.
    Rolled,
    /// It gives up when it was told a few times that the outcome is not known: a person is to say.
    Left,
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
            own: format!("{OWN}{intent}"),
            declined: false,
            one_call: false,
            twist: Twist::Nothing,
            fault: None,
        }
    }

    fn charge(mut self) -> Self {
        let class = &self.operation.class;
        self.body =
            format!("amount=700&currency=usd&source=tok_visa&description={class}{CANARIES}");
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

/// Cards and other payers' data must not be seen anywhere: these are searched for.
const CANARIES: &str = "&shipping[name]=Canary+Payer+4711&metadata[card]=4242424242424242";

/// A payment, confirmed at once.
fn pay(what: &str, card: &str) -> String {
    format!(
        "amount=900&currency=usd&payment_method={card}&confirm=true&description={what}\
         {CANARIES}"
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
        0..16 => one(distinct(&id, any).charge()),
        16..30 => one(distinct(&id, any)),
        30..42 => one(by_fields(dice, &id, any)),
        42..51 => one(by_header(dice, &id, any)),
        51..57 => one(by_own_key(dice, &id)),
        57..66 => twins(dice, &id, minted),
        66..72 => twins_told_apart(dice, &id, any),
        72..80 => declined(dice, &id, minted),
        80..83 => one(version_2(&id, minted)),
        83..87 => one(one_call(&id, any)),
        87..89 => one(uncommitted(&id, minted)),
        89..91 => one(keyless_call(&id)),
        91..93 => one(misused(&id)),
        93..96 => one(rolled(dice, &id, minted)),
        96..98 => one(saved_500(dice, &id, minted)),
        _ => one(edited(dice, &id, minted)),
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
        2 => {
            let mut want = want.twist(Twist::OtherBody(other));
            want.operation.workload = OTHER_BODY;
            want
        }
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
    let (workload, by, body): (_, _, fn(&str, &str) -> String) = if named {
        (ANOTHER_CARD_FOR_AN_ORDER, By::Fields, order)
    } else {
        (ANOTHER_CARD, By::Content, pay)
    };
    let want = |which, card| {
        let want = Want::new(&format!("{id}-{which}"), workload, by, keys);
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

/// The API key is rolled while the outcome is not known: another scope, so that only an own key,
/// which the provider itself knows again, still names the operation.
fn rolled(dice: Dice, id: &str, keys: Keys) -> Want {
    let want = match dice.below(3, "rolled", id, 0) {
        0 => Want::new(id, "API key rolled, own key", By::OwnKey, Keys::Own),
        1 => Want::new(id, "API key rolled, Payonce-Operation", By::Header, keys)
            .named(id)
            .promise(Promise::Measured),
        _ => Want::new(id, "API key rolled", By::Content, keys).promise(Promise::Measured),
    };
    want.twist(Twist::Rolled)
}

/// A 500 that the provider keeps under its key. Held, it stays unknown until a person says what
/// happened; `indeterminate = "next"` pays again, which is right if nothing was executed.
fn saved_500(dice: Dice, id: &str, keys: Keys) -> Want {
    let executed = dice.percent(50, "executed", id, 0);
    let effect = if executed { Strike::After } else { Strike::Before };
    let mut want = match (dice.percent(40, "held", id, 0), executed) {
        (true, _) => Want::new(id, HELD, By::Content, keys).twist(Twist::Left),
        (false, false) => payout(Want::new(id, "saved 500, next", By::Content, keys)),
        (false, true) => payout(Want::new(id, "saved 500, next, executed", By::Content, keys))
            .promise(Promise::Measured),
    };
    want.fault = Some(Kind::Saved500 { effect });
    want
}

fn payout(mut want: Want) -> Want {
    want.path = "/v1/payouts";
    let body = format!("amount=7&currency=usd&description={}{CANARIES}", want.operation.intent);
    want.body(body)
}

/// The rule by which it is recognised changes now and then; a name does not depend on rules.
fn edited(dice: Dice, id: &str, keys: Keys) -> Want {
    let mut want = if dice.percent(40, "named", id, 0) {
        Want::new(id, "rule edited meanwhile, Payonce-Operation", By::Header, keys).named(id)
    } else {
        let want = Want::new(id, "rule edited meanwhile", By::Content, keys);
        want.promise(Promise::Measured)
    };
    want.path = "/v1/topups";
    let body = format!("amount=70&currency=usd&description={id}&metadata[order_id]={id}{CANARIES}");
    want.body(body)
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
