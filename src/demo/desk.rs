//! The person on call: where Stripe itself does not say what became of a payment (a saved 500),
//! somebody looks at its dashboard and says `payonce ops resolve`.

use std::collections::HashMap;
use std::sync::Arc;

use super::count::{Told, Word, fulfils};
use super::work::Step;
use crate::admin::{Operations as _, Resolution, Resolved};
use crate::ledger::AnyLedger;
use crate::people::People;
use crate::sandbox::Sandbox;
use crate::upstream::Direct;

/// What the person found.
pub(super) enum Found {
    /// The money had moved: the job is done by hand.
    Happened {
        /// The object.
        object: Option<String>,
    },
    /// It had not: the job goes on, with a key that Stripe does not know.
    DidNot,
    /// The operation is not open, or somebody works on it just now.
    Nothing,
}

/// The desk of the person on call.
pub(super) struct Desk {
    people: People<Arc<AnyLedger>, Direct>,
    dashboard: Arc<Sandbox>,
}

impl Desk {
    pub(super) const fn new(
        people: People<Arc<AnyLedger>, Direct>,
        dashboard: Arc<Sandbox>,
    ) -> Self {
        Self { people, dashboard }
    }

    /// Looks an operation up and resolves it. Of payments that are equal, one happened more than
    /// the application knows of, or none did.
    pub(super) async fn look(
        &self,
        told: &HashMap<String, Told>,
        step: &Step,
        operation: &str,
    ) -> Found {
        let class = |told: &&Told| told.intent.class == step.intent.class;
        let known = told.values().filter(class).filter(|it| it.word == Word::Succeeded).count();
        let made = self.dashboard.effects().into_iter().filter(|effect| {
            let intent = effect.intent.as_ref().and_then(|id| told.get(id));
            intent.as_ref().is_some_and(class) && fulfils(step.intent.kind, effect)
        });
        let object = made.skip(known).last().map(|effect| effect.object);
        let resolution = match &object {
            Some(object) => Resolution::Succeeded { object_id: Some(object.clone()) },
            // The desk has looked for the payment itself.
            None => Resolution::Declined { next_key: true },
        };
        let why = "looked up in the dashboard";
        match self.people.resolve(operation, &resolution, "the person on call", why).await {
            Ok(Resolved::Done(_)) => match object {
                Some(object) => Found::Happened { object: Some(object) },
                None => Found::DidNot,
            },
            Ok(
                Resolved::NotFound
                | Resolved::NotOpen(_)
                | Resolved::Busy(_)
                | Resolved::NextKey(_),
            )
            | Err(_) => Found::Nothing,
        }
    }
}
