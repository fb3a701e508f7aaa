//! A Redis Cluster: three masters, each with a replica.

use std::process::Command;

use super::{Options, Server, until};
use crate::port::Port;

/// After so long without an answer a node takes another for down, in milliseconds. Not shorter:
/// a busy machine would fail over by itself.
const NODE_TIMEOUT: u32 = 1_500;

/// Six servers.
#[derive(Debug)]
pub(crate) struct Cluster {
    nodes: Vec<Server>,
    _buses: Vec<Port>,
}

impl Cluster {
    /// Starts them, and waits until they are one.
    pub(crate) fn start() -> Self {
        let buses: Vec<Port> = (0..6).map(|_| Port::free()).collect();
        let node = |bus: &Port| {
            let more = vec![
                "cluster-enabled yes".to_owned(),
                format!("cluster-port {}", bus.number()),
                format!("cluster-node-timeout {NODE_TIMEOUT}"),
            ];
            Server::start(&Options { more, ..Options::default() })
        };
        let this = Self { nodes: buses.iter().map(node).collect(), _buses: buses };
        let mut command = Command::new("redis-cli");
        command.args(["--cluster", "create"]);
        command.args(this.nodes.iter().map(|node| node.addr().to_string()));
        let output = command.args(["--cluster-replicas", "1", "--cluster-yes"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        this.until_whole(6);
        this
    }

    /// What `store.nodes` takes: some of them.
    pub(crate) fn nodes(&self) -> String {
        self.nodes.iter().map(Server::url).collect::<Vec<_>>().join(",")
    }

    /// All nodes, those that were killed too.
    pub(crate) fn servers(&self) -> &[Server] {
        &self.nodes
    }

    /// The nodes that are masters now.
    pub(crate) fn masters(&self) -> Vec<&Server> {
        self.nodes.iter().filter(|node| node.info("role") == "master").collect()
    }

    /// Waits until so many nodes live, all say that the cluster is whole, and each replica is in
    /// step.
    fn until_whole(&self, nodes: usize) {
        until("the cluster is whole", || {
            let whole = |node: &&Server| {
                let info = node.try_command(&["CLUSTER", "INFO"]).unwrap_or_default();
                info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
            };
            let in_step = |node: &&Server| {
                let link = node.info("master_link_status");
                link.is_empty() || link == "up"
            };
            let live = self.nodes.iter().filter(whole).filter(in_step).count();
            live == nodes
        });
    }

    /// Waits until each replica has what its master was told.
    pub(crate) fn until_replicated(&self) {
        until("all replicas are in step", || {
            self.masters().iter().all(|master| {
                let state = master.info("slave0");
                let offset = format!("offset={},", master.info("master_repl_offset"));
                state.is_empty() || state.contains(&offset)
            })
        });
    }

    /// The master that holds `key`, and its place among [`Self::servers`].
    pub(crate) fn holder(&self, key: &str) -> usize {
        let found = self.nodes.iter().position(|node| {
            node.info("role") == "master" && node.try_command(&["EXISTS", key]).is_ok()
        });
        found.expect("a master holds each key")
    }

    /// Kills a master (by its place among [`Self::servers`]), and waits until its replica has taken
    /// over and the cluster is whole again.
    pub(crate) fn fail_over(&self, place: usize) {
        let before = self.live();
        assert_eq!(self.nodes[place].info("role"), "master");
        self.nodes[place].kill();
        self.until_whole(before - 1);
    }

    fn live(&self) -> usize {
        self.nodes.iter().filter(|node| node.try_command(&["PING"]).is_ok()).count()
    }

    /// Starts a node that was killed again, and waits until it is in step.
    pub(crate) fn rejoin(&self, place: usize) {
        let before = self.live();
        self.nodes[place].restart();
        self.until_whole(before + 1);
    }
}
