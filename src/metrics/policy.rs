//! What is counted of the policy, of its guards, and of the API key that payonce holds.

use std::collections::BTreeMap;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::family::{Counters, Level, Levels};
use super::{Metrics, counter, gauge, seconds};
use crate::clock::Timestamp;

pub(super) struct Counts {
    info: Levels<1>,
    sound: Gauge,
    loaded: Level,
    refused: Counter,
    audit_failed: Counter,
    guard: Counters<3>,
    credential: Counters<1>,
}

impl Counts {
    pub(super) fn register(r: &mut Registry) -> Self {
        let info = "The policy in force, by version";
        let sound = "Whether what the policy file holds is in force: 0 after it was refused";
        let at = "When the policy in force was taken";
        let refused = "Changed policies that were not taken";
        let audit_failed = "Loads of the policy that the audit log did not take";
        let guard =
            "What guards found in API keys and own keys, by rule, finding and what was done";
        let credential = "Changes of the file that holds the API key, by what came of them";
        let loaded = Level::default();
        let name = "policy_last_reload_success_timestamp";
        r.register_with_unit(name, at, Unit::Seconds, loaded.clone());
        Self {
            info: Levels::register(r, "policy_info", info, None, ["version"]),
            sound: gauge(r, "policy_last_reload_successful", sound),
            loaded,
            refused: counter(r, "policy_refused", refused),
            audit_failed: counter(r, "policy_audit_failed", audit_failed),
            guard: Counters::register(r, "guard_findings", guard, ["rule", "finding", "done"]),
            credential: Counters::register(r, "credential_reloads", credential, ["result"]),
        }
    }
}

impl Metrics {
    /// This version of the policy is in force now, since `taken`, and no other. `sound` unless the
    /// file holds something else by now, which was refused.
    pub fn policy_in_force(&self, version: &str, taken: Timestamp, sound: bool) {
        self.0.policy.info.show(BTreeMap::from([([version.to_owned()], 1.0)]));
        self.0.policy.loaded.set(seconds(taken));
        self.0.policy.sound.set(i64::from(sound));
    }

    /// A changed policy was not taken, and the former one stays in force.
    pub fn policy_refused(&self) {
        self.0.policy.refused.inc();
    }

    /// A load of the policy could not be written to the audit log.
    pub fn policy_audit_failed(&self) {
        self.0.policy.audit_failed.inc();
    }

    /// A guard found something in a request of this rule, and this was done about it.
    pub fn guard(&self, rule: &str, finding: &'static str, done: &'static str) {
        self.bound(self.0.policy.guard.add([rule.into(), finding.into(), done.into()]));
    }

    /// The file that holds the API key was read anew: `taken`, `refused` or `mended`.
    pub fn credential(&self, result: &'static str) {
        self.bound(self.0.policy.credential.add([result.into()]));
    }
}
