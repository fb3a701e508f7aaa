//! What the application means to do in a day: jobs, each a chain of intended operations.
//!
//! Pure: the seed decides. Some jobs are *twins*: byte-identical requests that are both meant.
//! They bear one [`Intent::class`], within which effects are interchangeable.

use std::time::Duration;

use super::dice::Dice;
use super::sdk::Sdk;

const MINUTE: u32 = 60;
const PRICES: [(&str, &str, &str); 6] = [
    ("500", "usd", "Sticker set"),
    ("1200", "usd", "Mug, blue"),
    ("4900", "usd", "One month"),
    ("1900", "eur", "Poster"),
    ("990", "gbp", "E-book"),
    ("25000", "usd", "Conference ticket"),
];

/// What kind of thing is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Charge,
    PaymentIntent,
    Refund,
    Customer,
    /// Settings: doing it twice changes nothing.
    Update,
}

/// How it must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Done,
    /// The card is declined.
    Declined,
}

/// One thing that the application truly wants, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Intent {
    /// The value of `Sandbox-Intent`.
    pub(super) id: String,
    /// The same for byte-identical intents.
    pub(super) class: String,
    pub(super) kind: Kind,
    pub(super) wanted: Wanted,
}

/// What must be there before the day begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Nothing,
    /// A customer with a card of this test token.
    Customer(&'static str),
    /// A card token, which works once.
    Token,
}

/// A value in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    /// What the job's [`Need`] came to.
    Needed,
    /// The object of the job's first step.
    First,
}

/// One step of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) intent: Intent,
    /// How long after the step before.
    pub(super) wait: Duration,
    /// The path; `{}` stands for what was needed.
    pub(super) path: &'static str,
    pub(super) form: Vec<(&'static str, Value)>,
}

/// One job of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    /// When it is due, from the day's beginning.
    pub(super) due: Duration,
    pub(super) sdk: Sdk,
    /// Which of the prepared objects it uses: twins share one.
    pub(super) group: String,
    pub(super) need: Need,
    pub(super) steps: Vec<Step>,
}

/// The jobs of a day of `length` with `operations` intents in all.
pub(super) fn plan(dice: Dice, operations: u32, length: Duration) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    let mut left = usize::try_from(operations).unwrap_or(usize::MAX);
    for n in 0.. {
        if left == 0 {
            break;
        }
        let made = Draft::new(dice, n, length).jobs();
        for mut job in made {
            job.steps.truncate(left);
            left -= job.steps.len();
            if !job.steps.is_empty() {
                jobs.push(job);
            }
        }
    }
    jobs
}

/// One draw: a job, or two that are twins.
struct Draft {
    dice: Dice,
    group: String,
    due: Duration,
    sdk: Sdk,
    price: (&'static str, &'static str, &'static str),
}

impl Draft {
    fn new(dice: Dice, n: u32, length: Duration) -> Self {
        let group = format!("group-{n:05}");
        let pick = usize::try_from(dice.below(6, "price", &group, 0)).unwrap_or_default();
        let price = PRICES.get(pick).copied().unwrap_or(("100", "usd", "Thing"));
        let due = length.mul_f64(dice.unit("due", &group, 0));
        Self { dice, due, sdk: Sdk::of(dice.unit("sdk", &group, 0)), price, group }
    }

    fn jobs(&self) -> Vec<Job> {
        match self.dice.below(100, "pattern", &self.group, 0) {
            0..=13 => vec![self.job("a", 0, Need::Token, vec![self.guest()])],
            14..=21 => self.twins(Need::Nothing, &self.strangers(), 10 * MINUTE, 180 * MINUTE),
            22..=41 => vec![self.job("a", 0, card(), vec![self.charge()])],
            42..=51 => self.twins(card(), &self.charge(), 5 * MINUTE, 180 * MINUTE),
            52..=71 => vec![self.job("a", 0, card(), vec![self.intent()])],
            72..=77 => self.twins(card(), &self.intent(), 0, 5),
            78..=83 => vec![self.declined()],
            84..=89 => vec![self.refunded(&["200", "200"])],
            90..=93 => vec![self.refunded(&[""])],
            _ => vec![self.job("a", 0, Need::Nothing, vec![self.customer()])],
        }
    }

    fn job(&self, which: &str, later: u32, need: Need, mut steps: Vec<Step>) -> Job {
        for (n, step) in steps.iter_mut().enumerate() {
            step.intent.id = format!("{}-{which}{n}", self.group);
        }
        let due = self.due + Duration::from_secs(later.into());
        Job { due, sdk: self.sdk, group: self.group.clone(), need, steps }
    }

    /// Two jobs that send the same bytes, `least` to `most` seconds apart.
    fn twins(&self, need: Need, step: &Step, least: u32, most: u32) -> Vec<Job> {
        let later = least + self.dice.below(most - least + 1, "apart", &self.group, 0);
        vec![
            self.job("a", 0, need, vec![step.clone()]),
            self.job("b", later, need, vec![step.clone()]),
        ]
    }

    fn step(&self, kind: Kind, path: &'static str, form: Vec<(&'static str, Value)>) -> Step {
        let intent = Intent {
            id: String::new(),
            class: format!("{}-{kind:?}", self.group),
            kind,
            wanted: Wanted::Done,
        };
        Step { intent, wait: Duration::ZERO, path, form }
    }

    fn money(&self) -> Vec<(&'static str, Value)> {
        let (amount, currency, what) = self.price;
        vec![("amount", text(amount)), ("currency", text(currency)), ("description", text(what))]
    }

    fn paid_by(&self, by: &'static str, value: Value) -> Step {
        let mut form = self.money();
        form.push((by, value));
        self.step(Kind::Charge, "/v1/charges", form)
    }

    /// A shopper without an account, whose browser made a token of the card.
    fn guest(&self) -> Step {
        self.paid_by("source", Value::Needed)
    }

    /// Two shoppers whose requests are equal to the last byte. (Draws differ in the descriptor, so
    /// that it is known which requests are twins.)
    fn strangers(&self) -> Step {
        let mut step = self.paid_by("source", text("tok_visa"));
        step.form.push(("statement_descriptor_suffix", text(&self.group)));
        step
    }

    fn charge(&self) -> Step {
        self.paid_by("customer", Value::Needed)
    }

    fn intent(&self) -> Step {
        let mut form = self.money();
        form.extend([
            ("customer", Value::Needed),
            ("payment_method", text("pm_card_visa")),
            ("confirm", text("true")),
        ]);
        self.step(Kind::PaymentIntent, "/v1/payment_intents", form)
    }

    fn customer(&self) -> Step {
        let form = vec![
            ("email", text(&format!("{}@example.com", self.group))),
            ("name", text("A Shopper")),
        ];
        self.step(Kind::Customer, "/v1/customers", form)
    }

    fn later(&self, mut step: Step, n: u32, least: u64, most: u64) -> Step {
        let (least, most) = (Duration::from_secs(least), Duration::from_secs(most));
        step.wait = self.dice.time(least, most, "wait", &self.group, n);
        step
    }

    /// A card that is declined, another card, and the same request again.
    fn declined(&self) -> Job {
        let mut first = self.charge();
        first.intent.wanted = Wanted::Declined;
        let card = self.step(Kind::Update, "/v1/customers/{}", vec![("source", text("tok_visa"))]);
        let steps = vec![first, self.later(card, 1, 60, 600), self.later(self.charge(), 2, 5, 60)];
        self.job("a", 0, Need::Customer("tok_chargeCustomerFail"), steps)
    }

    /// A charge and its refunds; an empty amount refunds all of it. Equal parts are both meant.
    fn refunded(&self, amounts: &[&str]) -> Job {
        let mut steps = vec![self.charge()];
        for (n, amount) in (1..).zip(amounts) {
            let mut form = vec![("charge", Value::First)];
            if !amount.is_empty() {
                form.push(("amount", text(amount)));
            }
            let refund = self.step(Kind::Refund, "/v1/refunds", form);
            steps.push(self.later(refund, n, 600, 7200));
        }
        self.job("a", 0, card(), steps)
    }
}

const fn card() -> Need {
    Need::Customer("tok_visa")
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    fn day(seed: u64) -> Vec<Job> {
        plan(Dice::new(seed), 500, Duration::from_hours(24))
    }

    #[test]
    fn a_day_holds_as_many_intents_as_asked_for_each_with_its_own_name() {
        for operations in [10, 60, 501] {
            let jobs = plan(Dice::new(5), operations, Duration::from_hours(24));
            let names: Vec<String> =
                jobs.iter().flat_map(|job| &job.steps).map(|step| step.intent.id.clone()).collect();
            let distinct: HashSet<&String> = names.iter().collect();
            let wanted = usize::try_from(operations).unwrap();
            assert_eq!((names.len(), distinct.len()), (wanted, wanted));
        }
    }

    #[test]
    fn the_same_seed_plans_the_same_day() {
        assert_eq!(day(7), day(7));
        assert_ne!(day(7), day(8));
    }

    #[test]
    fn twins_ask_for_the_same_bytes_and_nothing_else_does() {
        let mut asked: HashMap<String, HashSet<String>> = HashMap::new();
        let jobs = day(1);
        for job in &jobs {
            for step in &job.steps {
                let bytes = format!("{:?} {} {:?}", step.path, job.group, step.form);
                asked.entry(bytes).or_default().insert(step.intent.class.clone());
            }
        }
        assert!(asked.values().all(|classes| classes.len() == 1));
        let intents = jobs.iter().map(|job| job.steps.len()).sum::<usize>();
        assert!(asked.len() + 50 < intents, "{} of {intents}", asked.len());
    }
}
