//! The settings of the store. Those of a Redis store are read here, with what must hold between them.

use std::path::PathBuf;
use std::time::Duration;

use super::checked::ca_file;
use super::reader::Reader;
use crate::ledger::redis::{Login, Node, Topology};

/// Which kind of store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreKind {
    /// A redb file.
    #[default]
    Embedded,
    /// Nothing survives a restart.
    Memory,
    /// Redis or Valkey, shared by any number of processes.
    Redis,
}

/// Where operations are remembered.
#[derive(Clone, Debug)]
pub struct Store {
    /// Which kind.
    pub kind: StoreKind,
    /// The embedded store's file.
    pub path: PathBuf,
    /// Whether the operator vouches that this is the only payonce of its application.
    pub single_instance: bool,
    /// After which it counts as down.
    pub timeout: Duration,
    /// How long a claim of another process holds without being renewed.
    pub lease: Duration,
    /// Bytes of page cache of the embedded store.
    pub cache: usize,
    /// Most records of the memory store.
    pub max_records: usize,
    /// Of the Redis store.
    pub redis: RedisStore,
}

/// Where a Redis store is. If the store is of that kind, at least one node is named.
#[derive(Clone, Debug)]
pub struct RedisStore {
    /// The server, all Sentinels, or some servers of the Cluster.
    pub nodes: Vec<Node>,
    /// Which of these they are.
    pub topology: Topology,
    /// The Sentinels' name for the master; only with Sentinels.
    pub master: Option<String>,
    /// Who payonce is to the servers.
    pub login: Login,
    /// Who payonce is to the Sentinels.
    pub sentinel_login: Login,
    /// Which database; 0 on a Cluster.
    pub database: u32,
    /// Trusted instead of the platform's authorities. PEM; it could be read.
    pub ca_file: Option<PathBuf>,
    /// What all names in the store begin with.
    pub prefix: String,
    /// For a connection, TLS and login included.
    pub connect_timeout: Duration,
}

const NODES: &str = "store.nodes";
/// A prefix is a part of each key.
const LONGEST_PREFIX: usize = 64;

/// Reads them, whether or not the store is of that kind.
pub(super) fn redis(r: &mut Reader) -> RedisStore {
    let topologies = [
        ("single", Topology::Single),
        ("sentinel", Topology::Sentinel),
        ("cluster", Topology::Cluster),
    ];
    let login = Login {
        user: r.optional("store.user", "a user name"),
        password: r.password("store.password_file", "store.password"),
    };
    let sentinel_login = Login {
        user: r.optional("store.sentinel_user", "a user name"),
        password: r.password("store.sentinel_password_file", "store.sentinel_password"),
    };
    RedisStore {
        nodes: nodes(r),
        topology: r.choice("store.topology", &topologies),
        master: r.optional("store.master", "the Sentinels' name for the master"),
        login,
        sentinel_login,
        database: r.count("store.database", 0..=65_535),
        ca_file: ca_file(r, "store.ca_file"),
        prefix: prefix(r),
        connect_timeout: r
            .duration("store.connect_timeout", Duration::from_millis(1)..=Duration::from_mins(1)),
    }
}

/// No message quotes the value: somebody may have put a password there.
fn nodes(r: &mut Reader) -> Vec<Node> {
    let Some(text) = r.hidden(NODES, "addresses, such as \"redis://host:6379\"") else {
        return Vec::new();
    };
    Node::list(&text).unwrap_or_else(|bad| {
        r.refuse(NODES, bad.to_string());
        Vec::new()
    })
}

fn prefix(r: &mut Reader) -> String {
    const PATH: &str = "store.prefix";
    let prefix = r.text(PATH, "text that all names in the store begin with").unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '.' | '-' | '_' | '/');
    if prefix.len() > LONGEST_PREFIX || !prefix.chars().all(plain) {
        r.refuse(
            PATH,
            format!("must be at most {LONGEST_PREFIX} letters, digits and any of : . - _ /"),
        );
    }
    prefix
}

/// What must hold if the store is a Redis.
pub(super) fn relations(r: &mut Reader, s: &RedisStore) {
    const KIND: &str = "store.kind";
    let named = r.is_set(NODES);
    r.require(NODES, &[KIND], named, "must be set for a redis store".to_owned());
    let (single, sentinel) = (s.topology == Topology::Single, s.topology == Topology::Sentinel);
    let fits = !single || s.nodes.len() < 2;
    let what = "names several servers: one is enough, or store.topology is not \"single\"";
    r.require(NODES, &[KIND, "store.topology"], fits, what.to_owned());
    let sockets = !single && s.nodes.iter().any(|node| !node.is_tcp());
    let what = "must not be a Unix socket with Sentinel or Cluster: servers name one another by \
                host and port";
    r.require(NODES, &[KIND, "store.topology"], !sockets, what.to_owned());
    let mixed = s.nodes.iter().any(Node::tls) && !s.nodes.iter().all(Node::tls);
    r.require(NODES, &[KIND], !mixed, "must be all redis:// or all rediss://".to_owned());
    let what = "must be set with Sentinels, and only with them: their name for the master";
    let master = s.master.is_some() == sentinel;
    r.require("store.master", &[KIND, "store.topology"], master, what.to_owned());
    let database = s.topology != Topology::Cluster || s.database == 0;
    let what = format!("must be 0 on a Cluster, is {}", s.database);
    r.require("store.database", &[KIND, "store.topology"], database, what);
    let user = s.login.user.is_none() || s.login.password.is_some();
    let refused = ["store.password", "store.password_file"];
    r.require("store.user", &refused, user, "needs a password: set store.password_file".to_owned());
    let tls = s.ca_file.is_none() || s.nodes.iter().any(Node::tls);
    r.require("store.ca_file", &[NODES], tls, "is of no use without rediss:// nodes".to_owned());
}

/// What should be said aloud of a Redis store.
pub(super) fn warnings(s: &RedisStore) -> Vec<String> {
    let loopback = |node: &&Node| match node {
        Node::Unix(_) => true,
        Node::Tcp { host, tls, .. } => {
            let address = host.parse::<std::net::IpAddr>();
            *tls || host == "localhost" || address.is_ok_and(|address| address.is_loopback())
        }
    };
    let mut said = Vec::new();
    if let Some(node) = s.nodes.iter().find(|node| !loopback(node)) {
        said.push(format!(
            "store.nodes: {node} is reached without TLS: the password and what is known of \
             operations cross the network in plain text"
        ));
    }
    said
}
