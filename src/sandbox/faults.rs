//! What can go wrong with a request, as it is written in a script. [`super::plan`] says when.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// On which side of the effect a fault strikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strike {
    /// Nothing is executed.
    #[default]
    #[serde(alias = "none")]
    Before,
    /// It is executed, and the answer is lost or replaced.
    After,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// The connection is reset when the head was read, before the body is.
    Refuse,
    /// The request is read whole, then the connection is reset; nothing is executed.
    ResetBeforeEffect {
        /// A clean end (FIN) instead of a reset.
        #[serde(default)]
        clean: bool,
    },
    /// It is executed, then the connection is reset without a byte of an answer.
    ResetAfterEffect {
        /// A clean end (FIN) instead of a reset.
        #[serde(default)]
        clean: bool,
    },
    /// It is executed, and the answer breaks off.
    CutAfterBytes {
        /// After this many bytes on the wire, head included.
        bytes: u64,
        /// `bytes` count from the begin of the body.
        #[serde(default)]
        in_body: bool,
        /// A reset instead of a clean end (FIN).
        #[serde(default)]
        reset: bool,
    },
    /// Nothing happens for a while. What is stalled before its effect is executed then, whether or
    /// not the client is still there; a stall for ever ends with the connection, unexecuted.
    Stall {
        /// For so long on the sandbox's clock; for ever if absent.
        #[serde(default)]
        millis: Option<u64>,
        /// Before or after the effect.
        #[serde(default)]
        effect: Strike,
    },
    /// The same as a stall that ends.
    Delay {
        /// For so long on the sandbox's clock.
        millis: u64,
        /// Before or after the effect.
        #[serde(default)]
        effect: Strike,
    },
    /// The answer comes in small pieces.
    Drip {
        /// The size of a piece.
        bytes: usize,
        /// The pause between two, on the sandbox's clock.
        millis: u64,
    },
    /// 409 `idempotency_key_in_use`; nothing is executed.
    InUse,
    /// 429 of the rate limiter; nothing is executed.
    RateLimited {
        /// `Stripe-Rate-Limited-Reason`; `global-rate` if absent.
        #[serde(default)]
        reason: Option<String>,
    },
    /// 429 `lock_timeout`; nothing is executed.
    LockTimeout,
    /// A 500 that is kept under the key.
    Saved500 {
        /// Whether the effect happened.
        #[serde(default)]
        effect: Strike,
    },
    /// A 500 that is not kept: after the effect, the key holds the true outcome.
    Unsaved500 {
        /// Whether the effect happened.
        #[serde(default)]
        effect: Strike,
    },
    /// Any other status that a balancer or Stripe answers with: 408, 424, 502, 503, 504.
    Status {
        /// The status code, 400 to 599.
        code: u16,
        /// Whether the effect happened.
        #[serde(default)]
        effect: Strike,
    },
    /// 302; nothing is executed.
    Redirect {
        /// Where to.
        location: String,
    },
    /// The true answer, with no more than the header overrides of [`Fault`].
    Mark,
}

impl Kind {
    /// Its name, as it is written and counted.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::ResetBeforeEffect { .. } => "reset_before_effect",
            Self::ResetAfterEffect { .. } => "reset_after_effect",
            Self::CutAfterBytes { .. } => "cut_after_bytes",
            Self::Stall { .. } => "stall",
            Self::Delay { .. } => "delay",
            Self::Drip { .. } => "drip",
            Self::InUse => "in_use",
            Self::RateLimited { .. } => "rate_limited",
            Self::LockTimeout => "lock_timeout",
            Self::Saved500 { .. } => "saved500",
            Self::Unsaved500 { .. } => "unsaved500",
            Self::Status { .. } => "status",
            Self::Redirect { .. } => "redirect",
            Self::Mark => "mark",
        }
    }
}

/// Which requests a fault strikes; what is absent matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Only {
    /// The method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// What the path begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_prefix: Option<String>,
    /// The header `Sandbox-Intent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<String>,
    /// The idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// One fault: what, on which requests, how often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// What goes wrong.
    #[serde(flatten)]
    pub kind: Kind,
    /// On which requests.
    #[serde(default, rename = "match")]
    pub only: Only,
    /// With this chance, 0 to 1; absent: a scripted fault, which strikes for certain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// So often; absent: once if scripted, else without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// Only after so many matching requests went by.
    #[serde(default)]
    pub after: u64,
    /// Overrides `Stripe-Should-Retry`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub should_retry: Option<bool>,
    /// Adds `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<String>,
    /// Sets or takes away `Idempotent-Replayed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayed: Option<bool>,
    /// An HTML body, as balancers send, in place of the JSON of a made-up answer.
    #[serde(default)]
    pub html: bool,
}

impl Fault {
    /// A scripted fault that strikes the next request, once.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            only: Only::default(),
            rate: None,
            times: None,
            after: 0,
            should_retry: None,
            retry_after: None,
            replayed: None,
            html: false,
        }
    }

    /// A fault that strikes with this chance.
    #[must_use]
    pub fn at_rate(kind: Kind, rate: f64) -> Self {
        Self { rate: Some(rate), ..Self::new(kind) }
    }

    /// The same, on requests of this method to paths that begin so.
    #[must_use]
    pub fn on(mut self, method: &str, path_prefix: &str) -> Self {
        self.only.method = Some(method.to_owned());
        self.only.path_prefix = Some(path_prefix.to_owned());
        self
    }

    /// The same, on requests with this `Sandbox-Intent`.
    #[must_use]
    pub fn of_intent(mut self, intent: &str) -> Self {
        self.only.intent = Some(intent.to_owned());
        self
    }

    /// The same, so often.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// The same, after so many matching requests went by.
    #[must_use]
    pub fn after(mut self, after: u64) -> Self {
        self.after = after;
        self
    }

    /// The same with `Stripe-Should-Retry` overridden.
    #[must_use]
    pub fn should_retry(mut self, retry: bool) -> Self {
        self.should_retry = Some(retry);
        self
    }

    /// Reads a fault, and says what is wrong with it: a misspelt field would otherwise make a proof
    /// that proves nothing.
    ///
    /// # Errors
    /// A sentence about the first thing that is wrong.
    pub fn read(value: &Value) -> Result<Self, String> {
        const FIELDS: [&str; 19] = [
            "kind",
            "match",
            "rate",
            "times",
            "after",
            "should_retry",
            "retry_after",
            "replayed",
            "html",
            "clean",
            "bytes",
            "in_body",
            "reset",
            "millis",
            "effect",
            "reason",
            "code",
            "location",
            "comment",
        ];
        let fields = value.as_object().ok_or("a fault must be a JSON object")?;
        if let Some(unknown) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
            return Err(format!("unknown field {unknown}"));
        }
        let fault: Self =
            serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
        match (fault.rate, &fault.kind) {
            (Some(rate), _) if !(0.0..=1.0).contains(&rate) => {
                Err(format!("rate must lie between 0 and 1, is {rate}"))
            }
            (_, Kind::Status { code, .. }) if !(400..=599).contains(code) => {
                Err(format!("code must lie between 400 and 599, is {code}"))
            }
            (_, Kind::Drip { bytes: 0, .. }) => Err("bytes must be at least 1".to_owned()),
            (_, _) => Ok(fault),
        }
    }
}
