//! What goes on beside the requests and ends with the process, not with them: while payonce drains,
//! the admin port and the probes answer, files are watched, and what is left to write is written.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::health;
use super::webhook::Webhooks;
use crate::admin;
use crate::exchange::Exchange;
use crate::ledger::AnyLedger;
use crate::metrics::Metrics;
use crate::people::People;
use crate::policy_file::PolicyFile;
use crate::server::Tasks;
use crate::settings::{Secret, Settings};
use crate::survey;
use crate::upstream::Direct;
use crate::ways::Ways;

/// Tasks that last until [`Beside::ended`].
pub(super) struct Beside {
    tasks: Tasks,
    done: CancellationToken,
}

impl Beside {
    /// These, and what they end by.
    pub(super) const fn new(tasks: Tasks, done: CancellationToken) -> Self {
        Self { tasks, done }
    }

    /// The admin port, for whoever bears the token.
    pub(super) fn admin(
        &self,
        (listener, token): (TcpListener, Secret),
        people: People<Arc<AnyLedger>, Direct>,
    ) {
        let done = self.done.clone();
        let people = people.heard_until(self.tasks.clone(), done.clone());
        self.tasks.spawn(async move {
            admin::serve(listener, people, token, done.cancelled_owned()).await;
        });
    }

    /// In which ways other processes recognise operations.
    pub(super) fn ways(&self, ways: Arc<Ways<Arc<AnyLedger>>>) {
        let stop = self.done.clone();
        self.tasks.spawn(async move { ways.watch(stop).await });
    }

    /// The policy's file, and what the metrics show of it.
    pub(super) fn policy(&self, policy: &Arc<PolicyFile>, settings: &Settings, metrics: &Metrics) {
        let (file, refresh, stop) =
            (Arc::clone(policy), settings.policy.refresh, self.done.clone());
        self.tasks.spawn(async move { file.watch(refresh, stop).await });
        let (mut status, metrics, stop) = (policy.subscribe(), metrics.clone(), self.done.clone());
        self.tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = status.changed() => if changed.is_err() { return },
                }
                let now = status.borrow_and_update().clone();
                health::policy(&metrics, &now);
                if now.refused.is_some() {
                    metrics.policy_refused();
                }
            }
        });
    }

    /// What an exchange does though nobody asks. It is not surveyed any more once it is `closing`.
    pub(super) fn exchange(
        &self,
        exchange: &Exchange<Arc<AnyLedger>, Direct>,
        settings: &Settings,
        closing: CancellationToken,
    ) {
        let credential = Arc::clone(exchange.guards.credential());
        let (refresh, stop) = (settings.credential.refresh, self.done.clone());
        self.tasks.spawn(async move { credential.watch(refresh, stop).await });
        let (writer, stop) = (exchange.clone(), self.done.clone());
        self.tasks.spawn(async move { writer.write_what_is_left(stop).await });
        let finisher = exchange.clone();
        self.tasks.spawn(async move { finisher.finish_what_is_held().await });
        let every = settings.metrics.survey_interval;
        self.tasks.spawn(survey::watch(exchange.clone(), every, closing));
    }

    /// The files that the webhooks' gate goes by.
    pub(super) fn webhooks(&self, webhooks: &Webhooks) {
        let (gate, done) = (webhooks.gate.clone(), self.done.clone());
        self.tasks.spawn(async move { gate.refresh(done).await });
    }

    /// Ends them all, and waits until they have.
    pub(super) async fn ended(self) {
        self.done.cancel();
        self.tasks.drained().await;
    }
}
