//! A server's address, as it is written in the settings and as servers name one another.

use std::fmt;
use std::path::PathBuf;

/// Where a Redis server listens. Bears no credentials: they are settings of their own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// Over TCP, with or without TLS.
    Tcp {
        /// A name or an address, without brackets.
        host: String,
        /// The port.
        port: u16,
        /// Whether TLS is spoken.
        tls: bool,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// Why a text is no address of a server. Never quotes it: somebody may have put a password there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNode {
    /// It has a user, a password, a database or a parameter.
    #[error(
        "must not hold a user, password, database or parameter: they are settings of their own"
    )]
    Extra,
    /// It is something else.
    #[error(
        "must be \"redis://host:port\", \"rediss://host:port\" (TLS) or \"unix:///path\", several \
         with commas between them"
    )]
    Form,
}

/// The port of a server, where none is written.
const PORT: u16 = 6379;

impl Node {
    /// Reads one address.
    ///
    /// # Errors
    /// [`BadNode`], which does not quote it.
    pub fn parse(text: &str) -> Result<Self, BadNode> {
        let (scheme, rest) = text.split_once("://").ok_or(BadNode::Form)?;
        if rest.contains(['@', '?', '#']) {
            return Err(BadNode::Extra);
        }
        match scheme {
            "redis" => tcp(rest, false),
            "rediss" => tcp(rest, true),
            "unix" | "redis+unix" if rest.starts_with('/') && rest.len() > 1 => {
                Ok(Self::Unix(PathBuf::from(rest)))
            }
            _other => Err(BadNode::Form),
        }
    }

    /// Reads a list with commas between the addresses.
    ///
    /// # Errors
    /// [`BadNode`] of the first that is none; an empty list is none either.
    pub fn list(text: &str) -> Result<Vec<Self>, BadNode> {
        text.split(',').map(|one| Self::parse(one.trim())).collect()
    }

    /// Whether TLS is spoken with it.
    #[must_use]
    pub const fn tls(&self) -> bool {
        match self {
            Self::Tcp { tls, .. } => *tls,
            Self::Unix(_) => false,
        }
    }

    /// Whether it is reached over a network.
    #[must_use]
    pub const fn is_tcp(&self) -> bool {
        match self {
            Self::Tcp { .. } => true,
            Self::Unix(_) => false,
        }
    }
}

fn tcp(rest: &str, tls: bool) -> Result<Node, BadNode> {
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains('/') {
        return Err(BadNode::Extra);
    }
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or(BadNode::Form)?;
            let v6 = host.parse::<std::net::Ipv6Addr>().is_ok();
            let port = if after.is_empty() { None } else { Some(after.strip_prefix(':')) };
            if !v6 || port == Some(None) {
                return Err(BadNode::Form);
            }
            (host, port.flatten())
        }
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    let digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let port = match port {
        None => Some(PORT),
        Some(port) if digits(port) => port.parse().ok().filter(|port| *port != 0),
        Some(_) => None,
    };
    match port {
        Some(port) if !host.is_empty() && host.chars().all(plain) => {
            Ok(Node::Tcp { host: host.to_owned(), port, tls })
        }
        Some(_) | None => Err(BadNode::Form),
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, tls } => {
                let scheme = if *tls { "rediss" } else { "redis" };
                let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
                write!(f, "{scheme}://{open}{host}{close}:{port}")
            }
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_address_reads_back_as_it_shows() {
        for (text, shown) in [
            ("redis://cache:7000", "redis://cache:7000"),
            ("redis://cache", "redis://cache:6379"),
            ("rediss://cache.internal:6380/", "rediss://cache.internal:6380"),
            ("redis://[::1]:7", "redis://[::1]:7"),
            ("redis://[::1]", "redis://[::1]:6379"),
            ("unix:///run/redis.sock", "unix:///run/redis.sock"),
            ("redis+unix:///run/redis.sock", "unix:///run/redis.sock"),
        ] {
            assert_eq!(Node::parse(text).unwrap().to_string(), shown);
        }
        let two = Node::list("redis://a:1, rediss://b:2").unwrap();
        assert_eq!(two.iter().map(Node::tls).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn an_address_with_a_password_or_a_database_is_refused_and_not_quoted() {
        for text in
            ["redis://:hunter2@h:1", "redis://u:hunter2@h", "redis://h:1/3", "unix:///s?db=1"]
        {
            let error = Node::parse(text).unwrap_err();
            assert_eq!(error, BadNode::Extra, "{text}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "h:1",
            "http://h:1",
            "redis://",
            "redis://:1",
            "redis://h:0",
            "redis://h:70000",
            "redis://h:+1",
            "redis://h:1:2",
            "redis://[::1",
            "redis://[h]:1",
            "redis://[::1]1",
            "unix://s",
            "unix:///",
            "redis://a b:1",
        ] {
            assert_eq!(Node::parse(text), Err(BadNode::Form), "{text}");
        }
        assert!(Node::list("redis://a:1,").is_err());
    }
}
