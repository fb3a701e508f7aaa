//! Who serves what: the one server, the master that Sentinels name, the map of a Cluster.

use std::sync::Arc;

use futures_util::future::{join_all, select_ok};
use redis::{Cmd, Value};

use super::super::Topology;
use super::super::dial::{Login, dial};
use super::super::fault::Fault;
use super::super::link::Link;
use super::super::node::Node;
use super::super::slots::{Slots, named, slot_of, text};
use super::{Links, MOST_NODES};

/// Who serves what.
pub(super) enum Route {
    /// One master serves everything.
    One(Node),
    /// Each slot has its master.
    Many(Slots),
}

impl Route {
    pub(super) fn node(&self, key: &str) -> Option<&Node> {
        match self {
            Self::One(node) => Some(node),
            Self::Many(slots) => slots.node(slot_of(key)),
        }
    }
}

impl Links {
    /// The masters there are, as far as is known now.
    pub(in crate::ledger::redis) async fn masters(&self) -> Result<Vec<Node>, Fault> {
        Ok(match &*self.route().await? {
            Route::One(node) => vec![node.clone()],
            Route::Many(slots) => slots.masters().into_iter().cloned().collect(),
        })
    }

    /// Who serves `key`.
    pub(in crate::ledger::redis) async fn master_of(
        &self,
        key: &str,
    ) -> Result<Option<Node>, Fault> {
        Ok(self.route().await?.node(key).cloned())
    }

    /// Who serves what, asked of the servers if it is not known.
    pub(super) async fn route(&self) -> Result<Arc<Route>, Fault> {
        let mut held = self.route.lock().await;
        if let Some(route) = held.as_ref() {
            return Ok(Arc::clone(route));
        }
        let route = match self.config.topology {
            Topology::Single => {
                let none = || Fault::Unreached("no server is named".to_owned());
                Route::One(self.config.nodes.first().cloned().ok_or_else(none)?)
            }
            Topology::Sentinel => Route::One(self.master().await?),
            Topology::Cluster => Route::Many(self.slots().await?),
        };
        if let Route::Many(slots) = &route {
            let masters = slots.masters();
            self.seats().retain(|node, _| masters.contains(&node));
        }
        let route = Arc::new(route);
        *held = Some(Arc::clone(&route));
        Ok(route)
    }

    /// Asks anew who serves what, unless somebody has already.
    pub(super) async fn forget(&self, route: &Arc<Route>) {
        let mut held = self.route.lock().await;
        if held.as_ref().is_some_and(|held| Arc::ptr_eq(held, route)) {
            *held = None;
        }
    }

    /// The master that most Sentinels name: one that is cut off may still name the last.
    async fn master(&self) -> Result<Node, Fault> {
        let mut cmd = redis::cmd("SENTINEL");
        cmd.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.config.master);
        let asked =
            self.config.nodes.iter().map(|node| self.once(node, &self.config.sentinel_login, &cmd));
        let mut named_by: Vec<(Node, usize)> = Vec::new();
        let mut why = None;
        for (asked, answer) in self.config.nodes.iter().zip(join_all(asked).await) {
            let master = match answer {
                Ok(answer) => master_in(&answer, asked),
                Err(fault) => {
                    why = Some(fault);
                    continue;
                }
            };
            let Some(master) = master else { continue };
            match named_by.iter_mut().find(|(node, _)| *node == master) {
                Some((_, count)) => *count += 1,
                None => named_by.push((master, 1)),
            }
        }
        let most = named_by.into_iter().max_by_key(|(_, count)| *count);
        most.map(|(node, _)| node).ok_or_else(|| {
            why.unwrap_or_else(|| {
                let name = &self.config.master;
                Fault::Unreached(format!("no Sentinel knows a master named {name:?}"))
            })
        })
    }

    /// The map of a Cluster, of whichever server answers first.
    async fn slots(&self) -> Result<Slots, Fault> {
        let mut cmd = redis::cmd("CLUSTER");
        cmd.arg("SLOTS");
        let mut nodes = self.config.nodes.clone();
        let known: Vec<_> = self.seats().keys().take(MOST_NODES).cloned().collect();
        nodes.extend(known.into_iter().filter(|node| !self.config.nodes.contains(node)));
        let cmd = &cmd;
        let asked = nodes.iter().map(|node| {
            Box::pin(async move {
                let answer = self.once(node, &self.config.login, cmd).await?;
                let wrong = || Fault::Unreached(format!("{node} serves no Cluster"));
                Slots::read(&answer, node).ok_or_else(wrong)
            })
        });
        select_ok(asked).await.map(|(slots, _others)| slots)
    }

    /// One question on a connection of its own.
    async fn once(&self, node: &Node, login: &Login, cmd: &Cmd) -> Result<Value, Fault> {
        let asked = async {
            let (connection, driver) = dial(node, self.tls.as_ref()).await?;
            let link = Link::new(node.clone(), connection, driver, &self.tasks);
            link.log_in(login, 0).await?;
            let answer = link.send([cmd]).await?.pop();
            answer.unwrap_or_else(|| Err(Fault::Unreached(format!("{node} said nothing"))))
        };
        let limit = self.config.connect_timeout;
        let answer = self.clock.timeout(limit, asked).await;
        answer.unwrap_or_else(|_elapsed| {
            Err(Fault::Unreached(format!("no answer from {node} within {limit:?}")))
        })
    }
}

/// The answer of a Sentinel: host and port.
fn master_in(answer: &Value, asked: &Node) -> Option<Node> {
    let Value::Array(parts) = answer else { return None };
    let [host, port] = parts.as_slice() else { return None };
    named(text(host).as_deref(), text(port)?.parse().ok()?, asked)
}
