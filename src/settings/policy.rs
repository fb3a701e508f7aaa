//! The settings of the policy file: where it is, who must have signed it, where its loads are
//! written down.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::Reader;
use crate::policy_file::signature::TrustedKeys;

/// Where the policy is.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The file; `None`: the shipped policy.
    pub path: Option<PathBuf>,
    /// How often it is read again unasked.
    pub refresh: Duration,
    /// Whether everything is passed on unjudged.
    pub bypass: bool,
    /// Who must have signed the file: one of these, if there are any.
    pub trusted: TrustedKeys,
    /// Where each load is written down; `None`: nowhere.
    pub audit_log: Option<PathBuf>,
    /// Whether a policy is taken only once that is written.
    pub audit_required: bool,
}

const KEYS: &str = "policy.trusted_keys";
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

/// Reads them.
pub(super) fn read(r: &mut Reader) -> Policy {
    Policy {
        path: r.path("policy.path"),
        refresh: r.duration("policy.refresh", SECOND..=HOUR),
        bypass: r.flag("policy.bypass"),
        trusted: trusted(r),
        audit_log: r.path("policy.audit_log"),
        audit_required: r.flag("policy.audit_required"),
    }
}

fn trusted(r: &mut Reader) -> TrustedKeys {
    let Some(text) = r.optional(KEYS, "minisign public keys with commas between them") else {
        return TrustedKeys::default();
    };
    TrustedKeys::parse(&text).unwrap_or_else(|bad| {
        r.refuse(KEYS, bad.to_string());
        TrustedKeys::default()
    })
}

/// What must hold between them.
pub(super) fn relations(r: &mut Reader, policy: &Policy) {
    // The policy within payonce is as trusted as payonce itself; to ask for a signature and to name
    // no file is a mistake.
    let signed = policy.trusted.is_empty() || policy.path.is_some();
    let no_file = "is set, and policy.path is not: there is no file that could be signed";
    r.require(KEYS, &["policy.path"], signed, no_file.to_owned());
    let written = !policy.audit_required || policy.audit_log.is_some();
    let nowhere = "is true, and policy.audit_log is not set: there is nowhere to write";
    r.require("policy.audit_required", &["policy.audit_log"], written, nowhere.to_owned());
}
