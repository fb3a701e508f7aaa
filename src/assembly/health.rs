//! The health port, bound and answering before the rest of payonce is there.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::info;

use super::{StartError, listen};
use crate::admin;
use crate::ledger::AnyLedger;
use crate::metrics::Metrics;
use crate::policy_file::Status;
use crate::server::Tasks;
use crate::settings;
use crate::standing::Standing;
use crate::upstream::Direct;

/// What goes on beside the requests, from the start on. Dropped, it ends.
pub(super) struct HealthPort {
    pub(super) address: Option<SocketAddr>,
    pub(super) standing: Standing<Arc<AnyLedger>, Direct>,
    pub(super) aside: Tasks,
    pub(super) done: DropGuard,
}

impl HealthPort {
    /// Binds it, if the settings say so, and answers.
    pub(super) async fn open(
        address: Option<SocketAddr>,
        metrics: &Metrics,
    ) -> Result<Self, StartError> {
        let (standing, aside) = (Standing::default(), Tasks::new());
        let done = CancellationToken::new();
        let mut bound = None;
        if let Some(address) = address {
            let listener = listen("listen.health", address).await?;
            bound = listener.local_addr().ok();
            if let Some(address) = bound {
                info!(%address, "health and metrics listen");
            }
            let (standing, metrics, until) =
                (standing.clone(), metrics.clone(), done.clone().cancelled_owned());
            aside.spawn(admin::health::serve(listener, standing, metrics, until));
        }
        Ok(Self { address: bound, standing, aside, done: done.drop_guard() })
    }
}

/// The settings of the ports at which requests and events arrive.
pub(super) fn listening(listen: &settings::Listen, webhooks: bool) -> Vec<&'static str> {
    let ports = [
        ("listen.proxy", listen.proxy.is_some()),
        ("listen.unix_socket", listen.unix_socket.is_some()),
        ("webhook.listen", webhooks),
    ];
    ports.into_iter().filter_map(|(name, on)| on.then_some(name)).collect()
}

/// Shows the policy in force.
pub(super) fn policy(metrics: &Metrics, status: &Status) {
    metrics.policy_in_force(&status.version, status.loaded_at, status.refused.is_none());
}
