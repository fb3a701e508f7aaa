//! A request target, strictly: what is matched is byte for byte what is forwarded (I10).

/// An origin-form request target whose path has one meaning only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    raw_path: String,
    segments: Vec<String>,
    query: Option<String>,
}

/// Which of Stripe's API generations a path belongs to; they treat keys differently (FACTS §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// `/v1/…` and everything that is not v2.
    V1,
    /// `/v2/…`.
    V2,
}
