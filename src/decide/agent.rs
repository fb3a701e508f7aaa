//! Which Stripe SDK a `User-Agent` names (FACTS §1.8), its version, and when that was released.
//!
//! `Stripe/v1 PythonBindings/16.1.0 App/1.2 (url) AIAgent/slug`: only the first two words say which
//! SDK it is, so that an application may append what it likes. What an SDK says of itself beside
//! that is read by [`clients`](crate::clients).

use std::fmt;

mod day;
mod releases;
mod version;

pub use day::{Day, Span};
pub use releases::{BadTable, Released, Releases};
pub use version::Version;

/// An SDK whose releases payonce knows about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sdk {
    /// stripe-python.
    Python,
    /// stripe-node.
    Node,
    /// stripe-go.
    Go,
    /// stripe-ruby.
    Ruby,
    /// stripe-php.
    Php,
    /// stripe-java.
    Java,
    /// Stripe.net.
    Dotnet,
    /// async-stripe, which is not Stripe's own.
    Rust,
}

impl Sdk {
    /// Every SDK and how the policy and the table of releases spell it.
    pub const NAMES: [(&'static str, Self); 8] = [
        ("python", Self::Python),
        ("node", Self::Node),
        ("go", Self::Go),
        ("ruby", Self::Ruby),
        ("php", Self::Php),
        ("java", Self::Java),
        ("dotnet", Self::Dotnet),
        ("rust", Self::Rust),
    ];

    /// As the policy spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
            Self::Go => "go",
            Self::Ruby => "ruby",
            Self::Php => "php",
            Self::Java => "java",
            Self::Dotnet => "dotnet",
            Self::Rust => "rust",
        }
    }

    /// The SDK of that name, as the SDKs themselves write their language (`.net`, `Java`).
    #[must_use]
    pub fn of_language(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case(".net") {
            return Some(Self::Dotnet);
        }
        let named = Self::NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        named.map(|(_, sdk)| *sdk).filter(|sdk| *sdk != Self::Dotnet)
    }
}

impl fmt::Display for Sdk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the first two words of a `User-Agent` say. Borrows; costs no allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// The SDK.
    pub sdk: Sdk,
    /// Its version; `None` if what stands there is none.
    pub version: Option<Version>,
    /// The word that says both: `PythonBindings/16.1.0`.
    pub word: &'a str,
    /// What stands after the slash.
    pub written: &'a str,
    /// What follows, without the space before it.
    pub rest: &'a str,
}

impl<'a> Named<'a> {
    /// Reads `Stripe/v1 PythonBindings/16.1.0 …`, whatever its case; `None` if it names no SDK.
    #[must_use]
    pub fn of(user_agent: &'a str) -> Option<Self> {
        let (product, words) = user_agent.split_once(' ')?;
        if !product.eq_ignore_ascii_case("stripe/v1") && !product.eq_ignore_ascii_case("stripe/v2")
        {
            return None;
        }
        let (word, rest) = words.split_once(' ').unwrap_or((words, ""));
        let (bindings, written) = word.split_once('/')?;
        let (language, suffix) = bindings.split_at_checked(bindings.len().checked_sub(8)?)?;
        if !suffix.eq_ignore_ascii_case("bindings") || language.eq_ignore_ascii_case("dotnet") {
            return None;
        }
        let sdk = Sdk::of_language(language)?;
        Some(Self { sdk, version: Version::parse(written), word, written, rest })
    }
}

/// A header value as text, up to its first byte beyond ASCII. Applications put their names, in any
/// alphabet, into the `User-Agent` after the words that count.
#[must_use]
pub fn ascii(value: &[u8]) -> &str {
    let end = value.iter().position(|byte| !byte.is_ascii()).unwrap_or(value.len());
    value.get(..end).and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sdk_is_known_by_its_user_agent() {
        for (agent, sdk, version) in [
            ("Stripe/v1 PythonBindings/16.1.0", Sdk::Python, "16.1.0"),
            ("Stripe/v1 PythonBindings/7.14.1 Shop/1 (x) AIAgent/a", Sdk::Python, "7.14.1"),
            ("Stripe/v1 NodeBindings/23.1.0", Sdk::Node, "23.1.0"),
            ("Stripe/v1 GoBindings/86.2.0", Sdk::Go, "86.2.0"),
            ("Stripe/v1 RubyBindings/19.5.0", Sdk::Ruby, "19.5.0"),
            ("Stripe/v1 PhpBindings/21.0.0", Sdk::Php, "21.0.0"),
            ("Stripe/v1 JavaBindings/29.1-beta", Sdk::Java, "29.1-beta"),
            ("Stripe/V1 .NetBindings/52.2.0", Sdk::Dotnet, "52.2.0"),
            ("STRIPE/v2 RustBindings/1.0.0-rc.6", Sdk::Rust, "1.0.0-rc.6"),
        ] {
            let named = Named::of(agent).unwrap();
            assert_eq!((named.sdk, named.written), (sdk, version), "{agent}");
            assert_eq!(named.version, Version::parse(version), "{agent}");
            assert!(named.version.is_some(), "{agent}");
        }
    }

    #[test]
    fn what_follows_is_kept_apart() {
        let named = Named::of("Stripe/v1 PythonBindings/16.1.0 My Shop/1.2 (https://x)").unwrap();
        assert_eq!(named.word, "PythonBindings/16.1.0");
        assert_eq!(named.rest, "My Shop/1.2 (https://x)");
    }

    #[test]
    fn anything_else_names_no_sdk() {
        for agent in [
            "",
            "Stripe/v1",
            "Stripe/v1 ",
            "Stripe/v3 NodeBindings/23.1.0",
            "Stripe/v1 LispBindings/1.0.0",
            "Stripe/v1 DotnetBindings/1.0.0",
            "Stripe/v1 Bindings/1.0.0",
            "Stripe/v1 NodeBindings",
            "Stripe/v1 Bündings/1",
            "App/1.0 Stripe/v1 NodeBindings/23.1.0",
            "WooCommerce Stripe Gateway/9.1 (https://woocommerce.com)",
            "curl/8.14.1",
        ] {
            assert_eq!(Named::of(agent), None, "{agent}");
        }
        assert_eq!(Named::of("Stripe/v1 NodeBindings/x").unwrap().version, None);
    }

    #[test]
    fn a_name_in_another_alphabet_hides_no_sdk() {
        let agent = ascii("Stripe/v1 NodeBindings/23.1.0 Läden/1".as_bytes());
        assert_eq!(Named::of(agent).unwrap().sdk, Sdk::Node);
        assert_eq!(ascii(b"\xff"), "");
    }
}
