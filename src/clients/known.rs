//! What SDKs are known to do wrong, by version (FACTS §1 and §5).
//!
//! Pure, and short on purpose: each line was seen on the wire or read in the SDK's source. What
//! payonce does about it is the policy's (`[[client]]`); payonce keeps critical requests to once
//! whatever the SDK does.

use crate::decide::agent::{Sdk, Version};

/// Something that an SDK does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// The SDK.
    pub sdk: Sdk,
    /// The first version that does it no more; `None`: all do.
    pub below: Option<Version>,
    /// What it does, in a sentence without a full stop.
    pub what: &'static str,
}

/// Everything that is known.
pub const KNOWN: [Behaviour; 6] = [
    Behaviour {
        sdk: Sdk::Node,
        below: Some(Version::of(22, 6, 0)),
        what: "with maxNetworkRetries 0 it still resends a POST once, without a key",
    },
    Behaviour {
        sdk: Sdk::Php,
        below: None,
        what: "by default it does not retry, and sends no key on a v1 POST",
    },
    Behaviour {
        sdk: Sdk::Php,
        below: Some(Version::of(6, 34, 2)),
        what: "its retries replace the application's own key",
    },
    Behaviour {
        sdk: Sdk::Python,
        below: Some(Version::of(11, 0, 0)),
        what: "by default it does not retry",
    },
    Behaviour { sdk: Sdk::Go, below: None, what: "calls with nil params send no key" },
    Behaviour {
        sdk: Sdk::Rust,
        below: None,
        what: "by default it sends no key, and without its uuid feature it retries without one",
    },
];

/// What this SDK in this version does wrong; where the version is not known, what some version does.
pub fn of(sdk: Sdk, version: Option<Version>) -> impl Iterator<Item = &'static Behaviour> {
    KNOWN.iter().filter(move |known| {
        let fixed = known.below.zip(version).is_some_and(|(below, version)| version >= below);
        known.sdk == sdk && !fixed
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mended_version_is_not_blamed() {
        let count = |sdk, version: &str| of(sdk, Version::parse(version)).count();
        assert_eq!((count(Sdk::Node, "22.5.9"), count(Sdk::Node, "22.6.0")), (1, 0));
        assert_eq!((count(Sdk::Php, "6.34.1"), count(Sdk::Php, "21.0.0")), (2, 1));
        assert_eq!((count(Sdk::Python, "10.12.0"), count(Sdk::Python, "11.0.0")), (1, 0));
        assert_eq!((count(Sdk::Rust, "1.0.0-rc.10"), count(Sdk::Ruby, "1.0")), (1, 0));
        assert_eq!(count(Sdk::Node, "not a version"), 1);
    }
}
