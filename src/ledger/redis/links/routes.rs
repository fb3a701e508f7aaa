//! Who serves what: the one server, the master that Sentinels name, the map of a Cluster.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, select_ok};
use redis::{Cmd, Value};

use super::super::Topology;
use super::super::breaker::{Admission, Breaker};
use super::super::dial::{Login, dial};
use super::super::fault::Fault;
use super::super::link::Link;
use super::super::node::Node;
use super::super::slots::{Slots, named, slot_of, text};
use super::Links;
use crate::clock::Timestamp;

/// Two look-ups are at least so far apart: while a Cluster is down each operation has a reason for
/// one.
const BETWEEN: Duration = Duration::from_millis(250);

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

    fn masters(&self) -> Vec<&Node> {
        match self {
            Self::One(node) => vec![node],
            Self::Many(slots) => slots.masters(),
        }
    }
}

/// What is known of who serves what.
#[derive(Default)]
pub(super) struct Routing {
    last: Option<Looked>,
    /// Of those that are asked for it.
    breaker: Breaker,
}

/// One look-up.
struct Looked {
    at: Timestamp,
    said: Result<Arc<Route>, Fault>,
    stale: bool,
}

impl Routing {
    /// What the last look-up said, unless it is time for another.
    fn known(&self, now: Timestamp) -> Option<Result<Arc<Route>, Fault>> {
        let last = self.last.as_ref()?;
        // A clock that stepped back does not keep the next one waiting.
        let recent = last.at <= now && now.since(last.at) < BETWEEN;
        (!last.stale || recent).then(|| last.said.clone())
    }

    fn looked(&mut self, at: Timestamp, said: Result<Arc<Route>, Fault>) {
        self.last = Some(Looked { at, stale: said.is_err(), said });
    }

    fn doubt(&mut self, route: &Arc<Route>) {
        let same = |said: &Result<Arc<Route>, Fault>| {
            said.as_ref().is_ok_and(|said| Arc::ptr_eq(said, route))
        };
        if let Some(last) = self.last.as_mut().filter(|last| same(&last.said)) {
            last.stale = true;
        }
    }
}

impl Links {
    /// The masters there are, as far as is known now.
    pub(in crate::ledger::redis) async fn masters(&self) -> Result<Vec<Node>, Fault> {
        Ok(self.route().await?.masters().into_iter().cloned().collect())
    }

    /// Who serves `key`.
    pub(in crate::ledger::redis) async fn master_of(
        &self,
        key: &str,
    ) -> Result<Option<Node>, Fault> {
        Ok(self.route().await?.node(key).cloned())
    }

    /// Who serves what, asked of the servers if it is not known, and not too often.
    pub(super) async fn route(&self) -> Result<Arc<Route>, Fault> {
        // All that need it wait for one look-up, and take what it says.
        let mut routing = self.routing.lock().await;
        if let Some(known) = routing.known(self.clock.now()) {
            return known;
        }
        let said = match self.config.topology {
            Topology::Single => {
                let none = || Fault::Unreached("no server is named".to_owned());
                self.config.nodes.first().cloned().map(Route::One).ok_or_else(none)
            }
            Topology::Sentinel => {
                let master = async { self.master().await.map(Route::One) };
                self.guarded(&mut routing.breaker, "all Sentinels", master).await
            }
            Topology::Cluster => {
                let slots = async { self.slots().await.map(Route::Many) };
                self.guarded(&mut routing.breaker, "all of the Cluster", slots).await
            }
        };
        let said = said.map(Arc::new);
        if let Ok(route) = &said {
            self.keep(&route.masters());
        }
        routing.looked(self.clock.now(), said.clone());
        said
    }

    /// Asks `whom`, unless nobody of them answered several times.
    async fn guarded(
        &self,
        breaker: &mut Breaker,
        whom: &str,
        ask: impl Future<Output = Result<Route, Fault>>,
    ) -> Result<Route, Fault> {
        if breaker.admit(self.clock.now()) == Admission::Refuse {
            return Err(Fault::Held(Fault::SUSPENDED));
        }
        let said = ask.await;
        let silence = said.as_ref().err().filter(|fault| fault.is_silence());
        let change = match silence {
            None => breaker.answered(),
            Some(_) => breaker.failed(self.clock.now(), self.chance.share()),
        };
        self.tell(change, &whom, silence);
        said
    }

    /// Asks anew who serves what, unless somebody has already.
    pub(super) async fn forget(&self, route: &Arc<Route>) {
        self.routing.lock().await.doubt(route);
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
        nodes.extend(self.known());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn route() -> Arc<Route> {
        Arc::new(Route::One(Node::parse("redis://a:1").unwrap()))
    }

    #[test]
    fn a_route_in_doubt_is_looked_up_again_and_not_sooner_than_after_the_pause() {
        let (mut routing, route) = (Routing::default(), route());
        assert!(routing.known(at(1000)).is_none());
        routing.looked(at(1000), Ok(Arc::clone(&route)));
        assert!(routing.known(at(9_000_000)).is_some(), "nobody doubts it");
        routing.doubt(&route);
        assert!(routing.known(at(1249)).is_some_and(|said| said.is_ok()));
        assert!(routing.known(at(1250)).is_none());
        assert!(routing.known(at(999)).is_none(), "the clock stepped back");
    }

    #[test]
    fn a_doubt_about_an_older_route_does_not_touch_the_one_in_force() {
        let mut routing = Routing::default();
        routing.looked(at(0), Ok(route()));
        routing.doubt(&route());
        assert!(routing.known(at(9000)).is_some());
    }

    #[test]
    fn a_look_up_that_failed_answers_for_those_that_come_at_once() {
        let mut routing = Routing::default();
        routing.looked(at(0), Err(Fault::Unreached("nobody".to_owned())));
        assert!(routing.known(at(249)).is_some_and(|said| said.is_err()));
        assert!(routing.known(at(250)).is_none());
    }
}
