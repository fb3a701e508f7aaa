//! What each kind of finding is called, how grave it is, and why it matters for the money.
//!
//! Names are stable: they stand in `allow` of policies and in the pipelines of those who check them.

use std::fmt;

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It is likely not what was meant, or costs money in a case that its author may not see. The
    /// policy is taken.
    Warning,
    /// The policy is not taken.
    Error,
}

impl Severity {
    /// `error` or `warning`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! codes {
    ($($variant:ident = $name:literal, $severity:ident, $why:literal;)+) => {
        /// The kinds of findings. What each is called and means: `payonce check --codes`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "name and reason of each stand in the one table below")]
        pub enum Code { $($variant),+ }

        impl Code {
            /// All of them: errors, then warnings.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// Its name: small letters and hyphens. Never changed once it was released.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// How grave it is.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity),+ }
            }

            /// Why it matters for the money.
            #[must_use]
            pub const fn why(self) -> &'static str {
                match self { $(Self::$variant => $why),+ }
            }
        }
    };
}

codes! {
    NotToml = "not-toml", Error,
        "nothing of the file can be used; a payonce that runs keeps the policy it has";
    UnknownKey = "unknown-key", Error,
        "a misspelt key would leave requests less protected than its author believes";
    MissingKey = "missing-key", Error,
        "what a rule does must not hang on a default that nobody thought of";
    WrongType = "wrong-type", Error,
        "a value that is read as something else may protect nothing";
    UnknownValue = "unknown-value", Error,
        "a misspelt value would leave requests less protected than its author believes";
    Invalid = "invalid", Error,
        "what cannot be read as it was meant is not guessed at where money hangs on it";
    NoEffect = "no-effect", Error,
        "a key without effect promises a protection that is not there";
    ShadowedRule = "shadowed-rule", Error,
        "its requests are judged by the earlier rule, and get that one's protection or none";
    KeylessMethod = "keyless-method", Error,
        "Stripe ignores a key there, so that a second request would be executed a second time";
    MissingDistinguishes = "missing-distinguishes", Error,
        "two shoppers can send byte-identical requests: one of them would not be charged";
    WindowBeyondRetention = "window-beyond-retention", Error,
        "Stripe forgets a key after 24 hours: a replay after that would be a second payment";
    FailingTest = "failing-test", Error,
        "a request that somebody wrote down as protected is judged otherwise";
    OneStoreNeeded = "one-store-needed", Error,
        "two processes with a store each do not see each other's operations, and both would send";
    SecretNeeded = "secret-needed", Error,
        "without one, what is derived hangs on each API key: a payment in doubt when the key is \
         rolled would be made again";
    SecretInPolicy = "secret-in-policy", Error,
        "policies, their logs and metrics are read by more people than may pay: whoever finds it \
         there can use it";
    UnknownOperation = "unknown-operation", Warning,
        "a misspelt path protects nothing: the requests that it meant fall to another rule";
    NothingLeft = "nothing-left", Warning,
        "the requests that it meant are judged by earlier rules, with their protection or none";
    UnknownField = "unknown-field", Warning,
        "a field that never comes recognises nothing: a repeat would be executed again";
    FieldMissingOnOperation = "field-missing-on-operation", Warning,
        "these requests are never recognised as the rule means: a repeat would be executed again";
    RefusedAlways = "refused-always", Warning,
        "not one of these requests can bring the field: at best a key of the application's own gets \
         one through";
    FieldWithoutValue = "field-without-value", Warning,
        "an identity field that never has a value recognises nothing: a repeat is executed again";
    IdentityTooWide = "identity-too-wide", Warning,
        "the next payment that is meant, of the same payer or amount, would not be made for 30 days";
    WeakDistinguishingField = "weak-distinguishing-field", Warning,
        "one such field suffices, and requests that mean two payments can be equal with it: they \
         would be merged into one";
    TwinsOnBatch = "twins-on-batch", Warning,
        "a batch sends equal requests within seconds and means each: all but one would not be made";
    LongRepeatWindow = "long-repeat-window", Warning,
        "a payer who buys the same again within that time gets the first answer, and is not charged";
    RecognisedUpdate = "recognised-update", Warning,
        "what is set to A, to B and back to A can get the first answer for the second A, and stay B";
    NextOnMoney = "next-on-money", Warning,
        "a saved 500 may hide a success: what is tried afresh after it can be paid twice";
    MoneyPassed = "money-passed", Warning,
        "it goes out as it comes, without a key if it has none: a repeat is executed again";
    MoneyObserved = "money-observed", Warning,
        "it is only reported, and goes out as it comes: a repeat is executed again";
    ObserveMode = "observe-mode", Warning,
        "what is only observed goes out as it comes: a repeat is executed again, and only reported";
    DefaultWritesPass = "default-writes-pass", Warning,
        "a write that no rule names, also one that Stripe adds tomorrow, goes out without a key";
    StoreDownIgnored = "store-down-ignored", Warning,
        "while the store is down these requests are answered with 503, whatever the rule says";
    StoreForgets = "store-forgets", Warning,
        "v2 does not say that an answer is a replay: over a store that can have forgotten, content \
         would be sent twice, so that these requests are refused";
    FinishIgnored = "finish-ignored", Warning,
        "what ends in doubt there is open until somebody asks again, whatever the rule says";
    DuplicateTest = "duplicate-test", Warning,
        "of two tests of one request, people mend the one that they find";
    TestOfUnknownOperation = "test-of-unknown-operation", Warning,
        "a test of a misspelt path holds while the operation that it meant is unprotected";
    UnusedAllow = "unused-allow", Warning,
        "it would silently accept what comes up later under that name";
}

impl Code {
    /// The one with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
