//! Why a command has no answer that can be used.

use redis::ServerError;

use super::node::Node;
use super::slots::redirected;
use crate::ledger::LedgerError;

/// Why there is no answer. None of it holds a value, a key of a record, or a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// It was not sent: no connection, or none that may be used.
    #[error("{0}; nothing was written")]
    Unreached(String),
    /// It was not sent: the breaker is open, or too much is under way.
    #[error("{0}; nothing was written")]
    Held(&'static str),
    /// It was sent and not answered: it may have been executed, or be executed yet.
    #[error("{0}; a write may have happened, or may happen yet")]
    Silent(String),
    /// The server is there and payonce cannot work with it until somebody mends that.
    #[error("{0}; nothing was written")]
    Unfit(String),
    /// The server did not execute it, and says who would.
    #[error("it is served elsewhere; nothing was written")]
    Elsewhere(Redirect),
    /// The server did not execute it, and might in a moment.
    #[error("it is being moved or handed over ({0}); nothing was written")]
    Later(&'static str),
    /// The server does not know the script; it was not executed.
    #[error("the server did not take the script; nothing was written")]
    NoScript,
    /// The server is out of memory and drops nothing, as it should.
    #[error("it is full (maxmemory is reached); nothing was written")]
    Full,
    /// The server refused it, with this code.
    #[error("the server refused it ({0})")]
    Refused(String),
}

/// Where a server of a Cluster points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Redirect {
    /// Who serves the key.
    pub(super) node: Node,
    /// For this command alone: the slot is moving.
    pub(super) ask: bool,
}

impl Fault {
    /// The server has become a replica.
    pub(super) const DEMOTED: Self = Self::Later("READONLY");

    /// Why nothing is asked of a server whose breaker is open.
    pub(super) const SUSPENDED: &'static str =
        "it did not answer several times, and is not asked for a while";

    /// What a server's error says. Its words may quote what was sent, so only its code is kept.
    pub(super) fn of(error: &ServerError, asked: &Node) -> Self {
        let code = error.code();
        match code {
            "MOVED" | "ASK" => match error.details().and_then(|detail| redirected(detail, asked)) {
                Some(node) => Self::Elsewhere(Redirect { node, ask: code == "ASK" }),
                None => Self::Refused(code.to_owned()),
            },
            "TRYAGAIN" => Self::Later("TRYAGAIN"),
            "READONLY" => Self::DEMOTED,
            "NOSCRIPT" => Self::NoScript,
            "OOM" => Self::Full,
            // Said before anything is asked, so that it may pass for an answer to the login.
            "ERR" if error.details().is_some_and(|it| it.contains("max number of clients")) => {
                Self::Unreached(format!("{asked} has too many clients"))
            }
            other => Self::Refused(other.to_owned()),
        }
    }

    /// Whether the store did not answer, so that asking it again at once would be no use.
    pub(super) const fn is_silence(&self) -> bool {
        match self {
            Self::Unreached(_) | Self::Silent(_) | Self::Unfit(_) => true,
            Self::Held(_)
            | Self::Elsewhere(_)
            | Self::Later(_)
            | Self::NoScript
            | Self::Full
            | Self::Refused(_) => false,
        }
    }

    /// Whether who serves what may have changed.
    pub(super) fn is_stale_route(&self) -> bool {
        match self {
            Self::Elsewhere(redirect) => !redirect.ask,
            Self::Unreached(_) | Self::Silent(_) | Self::Later(_) => true,
            // Others may serve what a server that is cut off from them does not.
            Self::Refused(code) => matches!(code.as_str(), "CLUSTERDOWN" | "MASTERDOWN"),
            // Another may have taken over meanwhile.
            Self::Held(why) => *why == Self::SUSPENDED,
            Self::Unfit(_) | Self::NoScript | Self::Full => false,
        }
    }

    /// Whether the command was certainly not executed and may be sent again somewhere.
    pub(super) const fn may_go_again(&self) -> bool {
        match self {
            Self::Elsewhere(_) | Self::Later(_) | Self::NoScript => true,
            Self::Unreached(_)
            | Self::Held(_)
            | Self::Silent(_)
            | Self::Unfit(_)
            | Self::Full
            | Self::Refused(_) => false,
        }
    }
}

impl From<Fault> for LedgerError {
    fn from(fault: Fault) -> Self {
        Self::Unavailable(fault.to_string())
    }
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::*;

    fn said(line: &str) -> Fault {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        let Value::ServerError(error) = value else { panic!("{value:?}") };
        Fault::of(&error, &Node::parse("redis://asked:1").unwrap())
    }

    #[test]
    fn a_server_that_is_cut_off_from_the_others_sends_nobody_to_them_and_they_are_asked() {
        for line in ["CLUSTERDOWN The cluster is down", "MASTERDOWN Link with MASTER is down"] {
            let fault = said(line);
            assert!(fault.is_stale_route() && !fault.may_go_again(), "{fault}");
        }
        assert!(!said("WRONGTYPE Operation against a key").is_stale_route());
    }

    #[test]
    fn a_server_that_has_too_many_clients_refuses_no_login() {
        let busy = said("ERR max number of clients reached");
        assert_eq!(busy.to_string(), "redis://asked:1 has too many clients; nothing was written");
        assert_eq!(said("ERR unknown command"), Fault::Refused("ERR".to_owned()));
    }
}
