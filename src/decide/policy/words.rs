//! The values that the policy's keys take, and how the file spells them.

use std::fmt;

/// Names for the values of a key, so that reading and showing them cannot differ.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal),+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type { $($(#[$variant_doc])* $variant),+ }

        impl $type {
            /// Every value and how the policy file spells it.
            pub const NAMES: [(&'static str, Self); [$($name),+].len()] = [$(($name, Self::$variant)),+];

            /// As the policy file spells it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

named! {
    /// Whether payonce acts.
    #[derive(Default)]
    Mode {
        /// It does.
        #[default]
        Enforce = "enforce",
        /// It forwards unchanged and reports what it would have done.
        Observe = "observe"
    }
}

named! {
    /// Whether judged requests are written down.
    #[derive(Default)]
    Recording {
        /// They are not.
        #[default]
        Off = "off",
        /// What was decided about each is, where the settings say: names of fields and keyed digests
        /// of what they held.
        Decisions = "decisions"
    }
}

named! {
    /// Who a `UUIDv4` key with an SDK's User-Agent is taken to come from.
    #[derive(Default)]
    Uuid4Keys {
        /// The SDK: it was minted for one call.
        #[default]
        Sdk = "sdk",
        /// The application: it is an own key.
        Own = "own"
    }
}

named! {
    /// What becomes of a request.
    Class {
        /// It never leaves without a key, and its operation happens once.
        Critical = "critical",
        /// It is streamed through.
        Pass = "pass",
        /// It is answered with an error, and nothing is sent.
        Refuse = "refuse"
    }
}

named! {
    /// Whether the application must send a key of its own.
    #[derive(Default)]
    ClientKey {
        /// It need not.
        #[default]
        Optional = "optional",
        /// Without one, the answer is 400.
        Required = "required"
    }
}

named! {
    /// With whom a request is merged by content.
    #[derive(Default)]
    Merge {
        /// Only with one whose caller never got its answer.
        #[default]
        Lost = "lost",
        /// Also with one in flight, or answered within the repeat window.
        Twins = "twins"
    }
}

named! {
    /// What to do while the store does not answer.
    #[derive(Default)]
    StoreDown {
        /// Send with the derived key.
        #[default]
        Derive = "derive",
        /// Answer 503 and send nothing.
        Refuse = "refuse"
    }
}

named! {
    /// What the next request is after a saved 500, whose outcome nobody knows.
    #[derive(Default)]
    Indeterminate {
        /// The same operation, held until a person or an outcome ends it.
        #[default]
        Hold = "hold",
        /// A new operation, at the risk of doing it twice.
        Next = "next"
    }
}

named! {
    /// What a request is judged by that lacks one of the rule's identity fields.
    Otherwise {
        /// Its content.
        Content = "content",
        /// The single call.
        Call = "call",
        /// Nothing: it is answered with an error, and nothing is sent.
        Refuse = "refuse"
    }
}

named! {
    /// What is done about a client.
    ClientAction {
        /// It is counted.
        Report = "report",
        /// It is told so in a header of each answer, and logged.
        Warn = "warn",
        /// It is answered with an error, and nothing is sent.
        Refuse = "refuse"
    }
}

impl ClientAction {
    /// How bad it is for the client: more is worse.
    #[must_use]
    pub const fn weight(self) -> u8 {
        match self {
            Self::Report => 0,
            Self::Warn => 1,
            Self::Refuse => 2,
        }
    }
}

named! {
    /// What is done where a guard finds something.
    Action {
        /// Nothing.
        Off = "off",
        /// It is counted and logged.
        Warn = "warn",
        /// It is answered with an error, and nothing is sent.
        Refuse = "refuse"
    }
}

named! {
    /// Whose money an API key moves.
    Environment {
        /// Real money.
        Live = "live",
        /// Nobody's: test mode or a sandbox.
        Test = "test"
    }
}

named! {
    /// What an API key is, by what it begins with.
    ApiKeyKind {
        /// A secret key, live.
        SkLive = "sk_live",
        /// A restricted key, live.
        RkLive = "rk_live",
        /// A secret key for tests.
        SkTest = "sk_test",
        /// A restricted key for tests.
        RkTest = "rk_test",
        /// A key of an organization.
        SkOrg = "sk_org",
        /// A publishable key, live.
        PkLive = "pk_live",
        /// A publishable key for tests.
        PkTest = "pk_test",
        /// An ephemeral key, live.
        EkLive = "ek_live",
        /// An ephemeral key for tests.
        EkTest = "ek_test",
        /// Anything else, such as the token of a meter event session.
        Other = "other",
        /// There is none.
        None = "none"
    }
}
