//! What a Redis ledger is told, and why it cannot be had.

use std::path::PathBuf;
use std::time::Duration;

use super::{Login, Node, TlsError};
use crate::trace::{Kind, Store};

/// How the servers are arranged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Topology {
    /// One server.
    #[default]
    Single,
    /// A master with replicas, watched over by Sentinels.
    Sentinel,
    /// A Redis Cluster.
    Cluster,
}

/// What a Redis ledger is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server; the Sentinels; or some servers of the Cluster.
    pub nodes: Vec<Node>,
    /// What they are.
    pub topology: Topology,
    /// The Sentinels' name for the master.
    pub master: String,
    /// Who payonce is to the servers.
    pub login: Login,
    /// Who payonce is to the Sentinels.
    pub sentinel_login: Login,
    /// Which database; 0 on a Cluster.
    pub database: u32,
    /// Trusted instead of the platform's authorities.
    pub ca_file: Option<PathBuf>,
    /// What all names in the store begin with.
    pub prefix: String,
    /// For one round trip.
    pub timeout: Duration,
    /// For making one connection, TLS and login included.
    pub connect_timeout: Duration,
    /// Between two looks whether the store has forgotten.
    pub watch: Duration,
}

impl Config {
    /// What traces tell of it. Behind Sentinels and on a Cluster a call may go to any server, so that
    /// none is named.
    pub(super) fn traced(&self) -> Store {
        let server = match (self.topology, self.nodes.first()) {
            (Topology::Single, Some(Node::Tcp { host, port, .. })) => {
                Some((host.clone(), Some(*port)))
            }
            (Topology::Single, Some(Node::Unix(path))) => Some((path.display().to_string(), None)),
            (Topology::Single, None) | (Topology::Sentinel | Topology::Cluster, _) => None,
        };
        let namespace = Some(self.database.to_string());
        Store { system: "redis", kind: Kind::Client, server, namespace }
    }
}

/// Why a Redis ledger cannot be used at all. One that is merely not there now is no such reason.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// TLS cannot be set up.
    #[error("store.ca_file: {0}")]
    Tls(#[from] TlsError),
    /// A server is there, and payonce cannot work with it.
    #[error("store.nodes: {0}")]
    Unfit(String),
}
