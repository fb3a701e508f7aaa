//! What is said in the log as payonce starts, so that whoever reads it later knows what ran: what
//! listens where, which store, which policy, and what is degraded or only half wanted.

use std::path::Path;

use tracing::{info, warn};

use super::Assembly;
use crate::decide::policy::Recording;
use crate::ledger::Ledger;
use crate::settings::StoreKind;

impl Assembly {
    /// Says what listens where, which store, which policy, what is degraded.
    pub fn announce(&self) {
        let status = self.policy.status();
        let source = self.settings.policy.path.as_deref().map(Path::display);
        info!(version = env!("CARGO_PKG_VERSION"), "payonce starts");
        for local in self.local() {
            info!(address = %local, upstream = self.settings.upstream.api, "proxy listens");
        }
        if let Some(address) = self.admin_addr() {
            info!(%address, "admin listens (payonce ops)");
        }
        if let Some(address) = self.webhook_addr() {
            let endpoints = self.settings.webhook.endpoints.len();
            info!(%address, endpoints, "webhooks listen");
        }
        match self.settings.store.kind {
            StoreKind::Embedded => {
                info!(file = %self.settings.store.path.display(), "store is embedded");
            }
            StoreKind::Memory => info!("store is memory"),
            StoreKind::Redis => {
                let redis = &self.settings.store.redis;
                let nodes: Vec<_> = redis.nodes.iter().map(ToString::to_string).collect();
                info!(
                    nodes = nodes.join(","),
                    topology = ?redis.topology,
                    prefix = redis.prefix,
                    trusted = self.ledger.never_forgets(),
                    "store is redis"
                );
            }
        }
        info!(
            policy_version = status.version,
            mode = %self.policy.current().mode(),
            rules = status.rules,
            sha256 = self.policy.current().hash(),
            signed_by = status.signed.as_ref().map(|signed| tracing::field::display(&signed.by)),
            file = source.map_or_else(|| "(shipped)".to_owned(), |path| path.to_string()),
            "policy is in force"
        );
        self.announce_record();
        self.announce_traces();
        if self.settings.credential.key.is_some() {
            let file = self.settings.credential.path.as_deref().map(Path::display);
            let file = file.map_or_else(|| "(environment)".to_owned(), |path| path.to_string());
            info!(
                file,
                only = self.settings.credential.only,
                "API key is put in for a placeholder"
            );
        }
        for warning in &self.settings.warnings {
            warn!(target: "payonce::assembly", "{warning}");
        }
    }

    /// Says where traces go, if anywhere.
    fn announce_traces(&self) {
        let Some(collector) = &self.settings.tracing.collector else { return };
        let ratio = self.settings.tracing.sample_ratio;
        info!(%collector, sample_ratio = ratio, "traces are exported");
    }

    /// Says whether decisions are written down, and what is missing if they are half wanted.
    fn announce_record(&self) {
        let wanted = self.policy.current().recording() == Recording::Decisions;
        match (&self.settings.record.path, wanted) {
            (Some(path), true) => info!(file = %path.display(), "decisions are recorded"),
            (Some(_), false) => {
                info!("record.path is set, and nothing is recorded: the policy does not say so");
            }
            (None, true) => {
                warn!("the policy says record = \"decisions\", and record.path is not set");
            }
            (None, false) => {}
        }
    }
}
