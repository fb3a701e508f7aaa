//! What really happened: one entry for each executed change of state.
//!
//! This is the truth that every proof counts by. A replay, a failed validation and a conflict make
//! no effect; a decline makes one that moved no money.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// How an executed call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Succeeded,
    /// The card was declined.
    Declined,
    /// The payer has to authenticate first.
    RequiresAction,
}

/// One executed change of state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// Its number, from 0, without gaps.
    pub n: u64,
    /// When it was executed, on the sandbox's clock.
    pub at: Timestamp,
    /// Method and path template: `POST /v1/charges/{charge}/capture`.
    pub operation: String,
    /// The path as it was sent, without its query.
    pub path: String,
    /// The object's id.
    pub object: String,
    /// What was moved, held or meant, in the currency's smallest unit.
    pub amount: Option<i64>,
    /// The currency, in lower case.
    pub currency: Option<String>,
    /// The idempotency key as it was received (the sandbox is a test tool: it prints keys).
    pub key: Option<String>,
    /// Whose it is: account, `Stripe-Account`, `Stripe-Context`, joined by `|`; `-` where absent.
    pub scope: String,
    /// The request header `Sandbox-Intent`: what the application truly wanted.
    pub intent: Option<String>,
    /// Whether money moved.
    pub money: bool,
    /// How it ended.
    pub outcome: Outcome,
}

/// What a handler says of its effect; the rest is known from the call.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) object: String,
    pub(crate) amount: Option<i64>,
    pub(crate) currency: Option<String>,
    pub(crate) money: bool,
    pub(crate) outcome: Outcome,
}

impl Draft {
    /// A change of `object` that moved no money.
    pub(crate) fn change(object: impl Into<String>) -> Self {
        Self {
            object: object.into(),
            amount: None,
            currency: None,
            money: false,
            outcome: Outcome::Succeeded,
        }
    }

    /// The same about this much.
    pub(crate) fn of(mut self, amount: i64, currency: &str) -> Self {
        self.amount = Some(amount);
        self.currency = Some(currency.to_owned());
        self
    }

    /// The same, and the money moved if `moved`.
    pub(crate) fn money(mut self, moved: bool) -> Self {
        self.money = moved;
        self
    }

    /// The same with another end than success.
    pub(crate) fn ended(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }
}
