//! The application's Stripe SDK, as FACTS §1 has it: which keys it mints, what it retries, how long
//! it waits.

use std::time::Duration;

use http::StatusCode;
use uuid::Builder;

use super::dice::Dice;
use super::wire::{Failed, Reply};

/// How long an SDK waits for an answer (FACTS §1.4).
pub(super) const TIMEOUT: Duration = Duration::from_secs(80);

/// Which SDK an application uses, with its defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sdk {
    Python,
    Node,
    /// No key and no retries, unless asked for.
    Php,
    Ruby,
}

impl Sdk {
    /// The mix among applications.
    pub(super) fn of(chance: f64) -> Self {
        match chance {
            ..0.35 => Self::Python,
            ..0.60 => Self::Node,
            ..0.85 => Self::Php,
            _ => Self::Ruby,
        }
    }

    pub(super) const fn user_agent(self) -> &'static str {
        match self {
            Self::Python => "Stripe/v1 PythonBindings/16.1.0",
            Self::Node => "Stripe/v1 NodeBindings/23.1.0",
            Self::Php => "Stripe/v1 PhpBindings/21.0.0",
            Self::Ruby => "Stripe/v1 RubyBindings/19.5.0",
        }
    }

    /// The key of one call; all its retries bear it.
    pub(super) fn key(self, dice: Dice, intent: &str, call: u32) -> Option<String> {
        let random = dice.bytes("key", intent, call);
        let uuid4 = || Builder::from_random_bytes(random).into_uuid().to_string();
        match self {
            // All 128 bits are random, so that some look like a UUID that somebody chose.
            Self::Python => Some(Builder::from_bytes(random).into_uuid().to_string()),
            Self::Node => Some(format!("stripe-node-retry-{}", uuid4())),
            Self::Php => None,
            Self::Ruby => Some(uuid4()),
        }
    }

    /// How long to wait before the next attempt, if there is one after `attempts`.
    pub(super) fn retry(
        self,
        outcome: Result<&Reply, &Failed>,
        attempts: u32,
        random: f64,
    ) -> Option<Duration> {
        const MOST: u32 = 2;
        let retries = match self {
            Self::Python | Self::Node | Self::Ruby => MOST,
            Self::Php => 0,
        };
        let worth = match outcome {
            Ok(reply) => {
                let by_status =
                    reply.status == StatusCode::CONFLICT || reply.status.as_u16() >= 500;
                reply.should_retry.unwrap_or(by_status)
            }
            Err(Failed) => true,
        };
        if !worth || attempts > retries {
            return None;
        }
        let doubled = 0.5 * f64::from(1_u32 << attempts.saturating_sub(1).min(8));
        Some(Duration::from_secs_f64((doubled.min(5.0) * random.mul_add(0.5, 0.5)).max(0.5)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, should_retry: Option<bool>) -> Reply {
        Reply {
            status: StatusCode::from_u16(status).unwrap(),
            should_retry,
            object: None,
            operation: None,
        }
    }

    #[test]
    fn the_provider_s_word_beats_the_status() {
        let python = |reply: &Reply| Sdk::Python.retry(Ok(reply), 1, 0.5).is_some();
        assert!(python(&reply(500, None)) && !python(&reply(500, Some(false))));
        assert!(!python(&reply(429, None)) && python(&reply(429, Some(true))));
        assert!(python(&reply(409, None)) && !python(&reply(402, None)));
    }

    #[test]
    fn a_call_is_tried_three_times_and_by_php_once() {
        let waits =
            |sdk: Sdk| (1..9).take_while(move |n| sdk.retry(Err(&Failed), *n, 0.9).is_some());
        assert_eq!(waits(Sdk::Node).count(), 2);
        assert_eq!(waits(Sdk::Php).count(), 0);
    }

    #[test]
    fn each_call_has_a_key_of_its_own_and_php_none() {
        let key = |sdk: Sdk, call| sdk.key(Dice::new(1), "op-1", call);
        assert_ne!(key(Sdk::Python, 0), key(Sdk::Python, 1));
        assert_eq!(key(Sdk::Php, 0), None);
        assert!(key(Sdk::Node, 0).unwrap().starts_with("stripe-node-retry-"));
    }
}
