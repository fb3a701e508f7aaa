//! From commands to answers: which server, over which connection, how long, how often.
//!
//! Nothing is ever sent twice unless a server has said that it did not execute it: a claim whose
//! answer was lost would find its own first write. What was sent and not answered is told as such,
//! and the exchange reconciles it by the claim's token.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::{Cmd, Value};
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;
use tracing::info;

use super::Config;
use super::breaker::Admission;
use super::dial::dial;
use super::facts::Facts;
use super::fault::Fault;
use super::keys::Command;
use super::link::{Link, Seat};
use super::node::Node;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::server::Tasks;

mod routes;
mod seats;

use routes::Routing;
use seats::{Awaited, silence_in};

/// How often one call may be sent on, where servers say that they did not execute it.
const HOPS: usize = 4;
/// The pause before what a server said it would do later.
const LATER: Duration = Duration::from_millis(25);
/// Hints are waited for this part of the time-out longer than what they go with.
const HINT_SHARE: u32 = 20;
/// Servers that are remembered beside those of the settings.
const MOST_NODES: usize = 256;

/// The connections of one ledger.
pub(super) struct Links {
    config: Config,
    tls: Option<TlsConnector>,
    clock: Clock,
    chance: Chance,
    metrics: Metrics,
    tasks: Tasks,
    seats: Mutex<HashMap<Node, Arc<Seat>>>,
    routing: tokio::sync::Mutex<Routing>,
    /// Told of each new connection to a master.
    pub(super) connected: Notify,
}

impl Links {
    pub(super) fn new(
        config: Config,
        tls: Option<TlsConnector>,
        clock: Clock,
        chance: Chance,
        metrics: Metrics,
        tasks: Tasks,
    ) -> Self {
        Self {
            config,
            tls,
            clock,
            chance,
            metrics,
            tasks,
            seats: Mutex::default(),
            routing: tokio::sync::Mutex::default(),
            connected: Notify::new(),
        }
    }

    /// Answers to all commands, each on its own: on a Cluster they may go to several servers at the
    /// same time. One wait, bounded by connecting (twice: a route, then a server) and answering.
    pub(super) async fn send(&self, commands: &[Command]) -> Vec<Result<Value, Fault>> {
        let limit = self.config.timeout + self.config.connect_timeout * 2;
        let (mut answers, awaited) = (vec![None; commands.len()], Awaited::default());
        // What was answered within the time counts, even if the rest was not.
        let within = self.within(commands, &awaited, &mut answers);
        let fault = match self.clock.timeout(limit, within).await {
            Ok(()) => Fault::Later("it moved too often"),
            Err(_elapsed) => {
                let fault = Fault::Silent(format!("no answer within {limit:?}"));
                self.unheard(&awaited, &fault);
                fault
            }
        };
        answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(fault.clone()))).collect()
    }

    /// One command.
    pub(super) async fn ask(&self, command: Command) -> Result<Value, Fault> {
        let unanswered = || Fault::Silent("no answer".to_owned());
        self.send(&[command]).await.pop().unwrap_or_else(|| Err(unanswered()))
    }

    async fn within(
        &self,
        commands: &[Command],
        awaited: &Awaited,
        answers: &mut [Option<Result<Value, Fault>>],
    ) {
        let mut left: Vec<Leg> = (0..commands.len()).map(Leg::first).collect();
        for hop in 0..HOPS {
            if hop > 0 && left.iter().any(|leg| leg.pause) {
                self.clock.sleep(LATER).await;
            }
            let answered = self.hop(commands, &left, awaited).await;
            left = Vec::new();
            for (leg, answer) in answered {
                match &answer {
                    Err(fault) if fault.may_go_again() && hop + 1 < HOPS => {
                        left.push(leg.after(fault));
                    }
                    Ok(_) | Err(_) => {
                        if let Some(place) = answers.get_mut(leg.command) {
                            *place = Some(answer);
                        }
                    }
                }
            }
            if left.is_empty() {
                return;
            }
        }
    }

    /// Sends each leg once, to all servers at the same time.
    async fn hop(
        &self,
        commands: &[Command],
        legs: &[Leg],
        awaited: &Awaited,
    ) -> Vec<(Leg, Result<Value, Fault>)> {
        let route = match self.route().await {
            Ok(route) => route,
            Err(fault) => {
                return legs.iter().map(|leg| (leg.clone(), Err(fault.clone()))).collect();
            }
        };
        let mut trips: Vec<(Node, Vec<Leg>)> = Vec::new();
        let mut answers = Vec::new();
        for leg in legs {
            let key = commands.get(leg.command).map(|command| command.key.as_str());
            let node = match &leg.to {
                Some((node, _)) => Some(node.clone()),
                None => key.and_then(|key| route.node(key)).cloned(),
            };
            match node {
                None => {
                    let fault = Fault::Unreached("no server serves its slot".to_owned());
                    answers.push((leg.clone(), Err(fault)));
                }
                Some(node) => match trips.iter_mut().find(|(to, _)| *to == node) {
                    Some((_, legs)) => legs.push(leg.clone()),
                    None => trips.push((node, vec![leg.clone()])),
                },
            }
        }
        let trips = trips.into_iter().map(|(node, legs)| self.trip(node, legs, commands, awaited));
        let mut under_way: FuturesUnordered<_> = trips.collect();
        let is_hint = |leg: &Leg| commands.get(leg.command).is_some_and(|command| command.hint);
        while let Some(answered) = {
            let answered = |leg: &Leg| answers.iter().any(|(done, _)| done.command == leg.command);
            // A server that holds nothing but hints does not keep a write waiting.
            if legs.iter().all(|leg| is_hint(leg) || answered(leg)) {
                let grace = self.config.timeout / HINT_SHARE;
                self.clock.timeout(grace, under_way.next()).await.unwrap_or(None)
            } else {
                under_way.next().await
            }
        } {
            answers.extend(answered);
        }
        for leg in legs {
            if !answers.iter().any(|(done, _)| done.command == leg.command) {
                answers.push((leg.clone(), Err(Fault::Held("it was not waited for"))));
            }
        }
        let stale = answers.iter().filter_map(|(_, answer)| answer.as_ref().err());
        if stale.into_iter().any(Fault::is_stale_route) {
            self.forget(&route).await;
        }
        answers
    }

    /// One pipeline to one server.
    async fn trip(
        &self,
        node: Node,
        legs: Vec<Leg>,
        commands: &[Command],
        awaited: &Awaited,
    ) -> Vec<(Leg, Result<Value, Fault>)> {
        let asking = redis::cmd("ASKING");
        let mut cmds: Vec<&Cmd> = Vec::new();
        for leg in &legs {
            let Some(command) = commands.get(leg.command) else { continue };
            if leg.to.as_ref().is_some_and(|(_, ask)| *ask) {
                cmds.push(&asking);
            }
            cmds.push(match &command.whole {
                Some(whole) if leg.whole => whole,
                Some(_) | None => &command.cmd,
            });
        }
        let is_hint = |leg: &Leg| commands.get(leg.command).is_some_and(|command| command.hint);
        let awaited = (!legs.iter().all(is_hint)).then_some(awaited);
        match self.exchange(&node, &cmds, awaited).await {
            Err(fault) => legs.into_iter().map(|leg| (leg, Err(fault.clone()))).collect(),
            Ok(answers) => {
                let mut answers = answers.into_iter();
                legs.into_iter()
                    .map(|leg| {
                        if leg.to.as_ref().is_some_and(|(_, ask)| *ask) {
                            // The answer to ASKING says nothing.
                            answers.next();
                        }
                        let missing = || Err(Fault::Silent("no answer".to_owned()));
                        (leg, answers.next().unwrap_or_else(missing))
                    })
                    .collect()
            }
        }
    }

    /// Asks one server, unless it is suspended. `awaited` is told of it; none: only hints are sent.
    async fn exchange(
        &self,
        node: &Node,
        cmds: &[&Cmd],
        awaited: Option<&Awaited>,
    ) -> Result<Vec<Result<Value, Fault>>, Fault> {
        let seat = self.seat(node);
        if seat.admit(self.clock.now(), awaited.is_none()) == Admission::Refuse {
            return Err(Fault::Held(Fault::SUSPENDED));
        }
        if let Some(awaited) = awaited {
            awaited.begin(node, &seat);
        }
        let answers = self.answers(node, &seat, cmds).await;
        if let Some(awaited) = awaited {
            awaited.end(&seat);
        }
        self.heard(node, &seat, silence_in(&answers));
        answers
    }

    async fn answers(
        &self,
        node: &Node,
        seat: &Seat,
        cmds: &[&Cmd],
    ) -> Result<Vec<Result<Value, Fault>>, Fault> {
        let Ok(_permit) = seat.calls.acquire().await else {
            return Err(Fault::Held("it is closed"));
        };
        let link = seat.link(async || self.connect(node).await).await?;
        let limit = self.config.timeout;
        let trip = self.clock.timeout(limit, link.send(cmds.iter().copied())).await;
        let answers = trip.unwrap_or_else(|_elapsed| {
            Err(Fault::Silent(format!("no answer from {node} within {limit:?}")))
        });
        // A server that was made a replica may keep its connections, and whoever serves under its
        // address now is found by connecting anew.
        let demoted = |answers: &Vec<_>| answers.iter().any(|it| *it == Err(Fault::DEMOTED));
        if answers.as_ref().map_or(true, demoted) {
            seat.drop_link(&link).await;
        }
        answers
    }

    /// A new connection to a master that payonce can work with.
    async fn connect(&self, node: &Node) -> Result<Link, Fault> {
        let made = async {
            let (connection, driver) = dial(node, self.tls.as_ref()).await?;
            let link = Link::new(node.clone(), connection, driver, &self.tasks);
            link.log_in(&self.config.login, self.config.database).await?;
            let facts = link.introduce().await?;
            Ok((link, facts))
        };
        let limit = self.config.connect_timeout;
        let (link, facts): (Link, Facts) =
            self.clock.timeout(limit, made).await.unwrap_or_else(|_elapsed| {
                Err(Fault::Unreached(format!("no connection to {node} within {limit:?}")))
            })?;
        if facts.is_replica() {
            return Err(Fault::Unreached(format!("{node} is a replica")));
        }
        info!(%node, server_version = facts.version, "store connected");
        self.connected.notify_one();
        Ok(link)
    }
}

/// One command on its way.
#[derive(Clone)]
struct Leg {
    command: usize,
    /// Where a server said it must go, and whether it must ask there.
    to: Option<(Node, bool)>,
    /// The script goes along.
    whole: bool,
    pause: bool,
}

impl Leg {
    const fn first(command: usize) -> Self {
        Self { command, to: None, whole: false, pause: false }
    }

    /// The way on after a server did not execute it.
    fn after(self, fault: &Fault) -> Self {
        match fault {
            Fault::Elsewhere(redirect) => {
                Self { to: Some((redirect.node.clone(), redirect.ask)), pause: false, ..self }
            }
            Fault::NoScript => Self { whole: true, pause: false, ..self },
            Fault::Later(_)
            | Fault::Unreached(_)
            | Fault::Held(_)
            | Fault::Silent(_)
            | Fault::Unfit(_)
            | Fault::Full
            | Fault::Refused(_) => Self { to: None, pause: true, ..self },
        }
    }
}
