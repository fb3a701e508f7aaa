//! Where a host of the provider is: scheme, name, port, as a setting names them.
//!
//! Authority, Host and SNI come from here alone, never from a request. A general URL parser is
//! deliberately absent: it would accept, and rewrite, what a setting should not say.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Longest DNS name (RFC 1035 §2.3.4), in bytes.
const MAX_NAME: usize = 253;

/// How the connection is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In clear; for a sandbox on this machine only.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As in a URI.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port where none is named.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Scheme, host and port: `https://api.stripe.com`, `http://127.0.0.1:12111`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

/// What is wrong with the text of an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOrigin {
    /// Neither `http://` nor `https://`.
    #[error("must begin with https:// (or http:// for this machine)")]
    Scheme,
    /// `user@host`.
    #[error("must not hold a user name or password")]
    Userinfo,
    /// Something after the authority.
    #[error("must end after host and port: no path, query or fragment")]
    Path,
    /// No host, or not a DNS name or address.
    #[error("holds no valid host name or address")]
    Host,
    /// Not a port.
    #[error("the port must be a number from 1 to 65535")]
    Port,
}

impl Origin {
    /// Reads an origin; a single trailing slash is let pass.
    ///
    /// # Errors
    /// [`BadOrigin`] says what does not belong.
    pub fn parse(text: &str) -> Result<Self, BadOrigin> {
        let (scheme, rest) = split_scheme(text)?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains('@') {
            return Err(BadOrigin::Userinfo);
        }
        if authority.contains(['/', '?', '#', '\\']) {
            return Err(BadOrigin::Path);
        }
        let (host, port) = split_authority(authority)?;
        Ok(Self { scheme, host, port: port.unwrap_or(scheme.default_port()) })
    }

    /// How to connect.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// DNS name in lower case, or address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, named or the scheme's own.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// What `Host` and `:authority` say: the port only where it is not the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = self.bracketed();
        if self.port == self.scheme.default_port() { host } else { format!("{host}:{}", self.port) }
    }

    /// Host and port, always both, as CONNECT wants it (RFC 9110 §9.3.6).
    #[must_use]
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", self.bracketed(), self.port)
    }

    /// Whether the host names this machine and no other.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

fn split_scheme(text: &str) -> Result<(Scheme, &str), BadOrigin> {
    let (scheme, rest) = text.split_once("://").ok_or(BadOrigin::Scheme)?;
    if scheme.eq_ignore_ascii_case("https") {
        Ok((Scheme::Https, rest))
    } else if scheme.eq_ignore_ascii_case("http") {
        Ok((Scheme::Http, rest))
    } else {
        Err(BadOrigin::Scheme)
    }
}

/// Host (checked, lower case, without brackets) and port of `host`, `host:port`, `[v6]:port`.
pub(super) fn split_authority(authority: &str) -> Result<(String, Option<u16>), BadOrigin> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, after) = rest.split_once(']').ok_or(BadOrigin::Host)?;
        let address: Ipv6Addr = address.parse().map_err(|_not_v6| BadOrigin::Host)?;
        let port = match after {
            "" => None,
            after => Some(read_port(after.strip_prefix(':').ok_or(BadOrigin::Host)?)?),
        };
        return Ok((address.to_string(), port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(read_port(port)?)),
        None => (authority, None),
    };
    if is_name(host) { Ok((host.to_ascii_lowercase(), port)) } else { Err(BadOrigin::Host) }
}

fn read_port(text: &str) -> Result<u16, BadOrigin> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(BadOrigin::Port);
    }
    text.parse::<u16>().ok().filter(|port| *port != 0).ok_or(BadOrigin::Port)
}

fn is_name(host: &str) -> bool {
    let fits = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    host.len() <= MAX_NAME && host.split('.').all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_named_only_where_it_is_not_the_schemes_own() {
        let of = |text| Origin::parse(text).unwrap().authority();
        assert_eq!(of("https://API.stripe.com"), "api.stripe.com");
        assert_eq!(of("https://api.stripe.com:443/"), "api.stripe.com");
        assert_eq!(of("http://127.0.0.1:12111"), "127.0.0.1:12111");
        assert_eq!(of("http://[::1]:80"), "[::1]");
        assert_eq!(Origin::parse("https://a.b").unwrap().host_and_port(), "a.b:443");
    }

    #[test]
    fn whatever_is_not_scheme_host_and_port_is_refused() {
        for (text, why) in [
            ("api.stripe.com", BadOrigin::Scheme),
            ("ftp://a.b", BadOrigin::Scheme),
            ("https://user:pw@a.b", BadOrigin::Userinfo),
            ("https://a.b/v1", BadOrigin::Path),
            ("https://a.b?x", BadOrigin::Path),
            ("https://a.b\\c", BadOrigin::Path),
            ("https://", BadOrigin::Host),
            ("https://a..b", BadOrigin::Host),
            ("https://a b", BadOrigin::Host),
            ("https://[::1", BadOrigin::Host),
            ("https://a.b:0", BadOrigin::Port),
            ("https://a.b:+1", BadOrigin::Port),
            ("https://a.b:", BadOrigin::Port),
        ] {
            assert_eq!(Origin::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        let loopback = |text| Origin::parse(text).unwrap().is_loopback();
        assert!(loopback("http://127.9.9.9") && loopback("http://[::1]"));
        assert!(loopback("http://localhost:1"));
        assert!(!loopback("http://10.0.0.1") && !loopback("http://localhost.example"));
    }
}
