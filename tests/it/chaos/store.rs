//! The Redis that the processes share, and what goes wrong with it.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use payonce::clock::Clock;

use super::dice::Dice;
use super::events::{Harm, Mishap};
use super::harm::{self, LONGEST};
use super::shop::TICK;
use crate::redis_servers::{NAME, Options, Replicated, Server};
use crate::relay::Relay;

/// What the single servers want to be shown; it must be seen nowhere.
pub(crate) const PASSWORD: &str = "canary-password-of-the-store-0123456789";

/// How the store is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// One server to which nothing happens.
    Calm,
    /// One server behind a relay. It is cut off and stands still, and forgets nothing.
    Alone,
    /// The same, which forgets: it is flushed, killed, and refuses writes when it is full.
    Forgetful,
    /// A primary, a replica and a Sentinel: fail-overs that lose nothing, and some that do.
    Replicated,
}

/// The servers.
pub(crate) struct Store {
    servers: Servers,
}

enum Servers {
    One {
        server: Server,
        relay: Relay,
    },
    /// Held while something happens to them.
    Two(Mutex<Replicated>),
}

impl Store {
    pub(crate) fn start(kept: Kept) -> Self {
        let servers = match kept {
            Kept::Calm | Kept::Alone | Kept::Forgetful => {
                let password = Some(PASSWORD);
                let options = Options { password, append_only: true, ..Options::default() };
                let server = Server::start(&options);
                let relay = Relay::start(server.addr());
                Servers::One { server, relay }
            }
            Kept::Replicated => Servers::Two(Mutex::new(Replicated::start())),
        };
        Self { servers }
    }

    /// What payonce is told of it.
    pub(crate) fn env(&self) -> Vec<(&'static str, String)> {
        let (nodes, topology) = match &self.servers {
            Servers::One { relay, .. } => (format!("redis://{}", relay.addr()), "single"),
            Servers::Two(servers) => (servers.lock().unwrap().nodes(), "sentinel"),
        };
        let mut env = vec![
            ("PAYONCE_STORE__KIND", "redis".to_owned()),
            ("PAYONCE_STORE__NODES", nodes),
            ("PAYONCE_STORE__TOPOLOGY", topology.to_owned()),
        ];
        if topology == "sentinel" {
            env.push(("PAYONCE_STORE__MASTER", NAME.to_owned()));
        } else {
            env.push(("PAYONCE_STORE__PASSWORD", PASSWORD.to_owned()));
        }
        env
    }

    /// Something happens to the way to it; blocks. False if it struck nobody.
    pub(crate) fn harm(&self, what: Harm, dice: Dice, n: u64, time: Duration) -> bool {
        match &self.servers {
            Servers::One { relay, .. } => harm::strike(relay, what, dice, n, time),
            Servers::Two(_) => panic!("no relay stands before these servers"),
        }
    }

    /// Something happens to it; blocks. What happened, if it did.
    pub(crate) fn befall(&self, what: Mishap, time: Duration) -> Option<&'static str> {
        match (&self.servers, what) {
            (Servers::One { server, .. }, what) => one(server, what, time),
            (Servers::Two(servers), what) => Some(two(&servers.lock().unwrap(), what, time)),
        }
    }

    /// Nothing goes wrong any more.
    pub(crate) fn heal(&self) {
        if let Servers::One { relay, .. } = &self.servers {
            relay.heal();
        }
    }

    /// All that it holds, as text.
    pub(crate) fn all(&self) -> String {
        match &self.servers {
            Servers::One { server, .. } => contents(server, &format!(":{PASSWORD}@")).unwrap(),
            Servers::Two(servers) => {
                let servers = servers.lock().unwrap();
                let end = Clock::System.now().plus(Duration::from_secs(20));
                loop {
                    servers.recognise();
                    // A server that Sentinel still gives another role to ends its connections.
                    match contents(servers.primary(), "") {
                        Ok(all) => return all,
                        Err(error) => assert!(Clock::System.now() < end, "{error}"),
                    }
                    std::thread::sleep(TICK);
                }
            }
        }
    }
}

/// The server that was killed comes back as the replica. It is told so: a Sentinel that is asked for
/// one fail-over after the other sometimes takes its time.
fn rejoin(servers: &Replicated) {
    servers.replica().restart();
    servers.follow();
}

fn one(server: &Server, what: Mishap, time: Duration) -> Option<&'static str> {
    match what {
        Mishap::StandStill => Some(stand_still(server, time)),
        Mishap::Flush => {
            server.flush();
            Some("store flushed")
        }
        Mishap::Kill => {
            server.kill();
            std::thread::sleep(time);
            server.restart();
            Some("store killed")
        }
        Mishap::Fill => {
            let refused = || server.info("errorstat_OOM");
            let before = refused();
            server.configure("maxmemory", "1mb");
            std::thread::sleep(time);
            // Whoever writes finds it full; nobody might.
            let end = Clock::System.now().plus(LONGEST);
            while refused() == before && Clock::System.now() < end {
                std::thread::sleep(TICK);
            }
            let reached = refused() != before;
            server.configure("maxmemory", "0");
            reached.then_some("store full")
        }
        Mishap::FailOver | Mishap::FailOverStale => panic!("one server has nobody to take over"),
    }
}

fn two(servers: &Replicated, what: Mishap, time: Duration) -> &'static str {
    servers.recognise();
    if servers.replica().info("role") != "slave" {
        servers.follow();
    }
    match what {
        Mishap::FailOver => {
            servers.until_replicated();
            servers.fail_over();
            rejoin(servers);
            "store failed over"
        }
        Mishap::FailOverStale => {
            // What is written meanwhile is lost.
            servers.stale_fail_over(|| std::thread::sleep(time));
            rejoin(servers);
            "store failed over to a stale replica"
        }
        // For less long than would make Sentinel fail over.
        Mishap::StandStill => stand_still(servers.primary(), time / 2),
        Mishap::Flush | Mishap::Kill | Mishap::Fill => panic!("not what these servers are for"),
    }
}

fn stand_still(server: &Server, time: Duration) -> &'static str {
    server.pause();
    std::thread::sleep(time);
    server.resume();
    "store stood still"
}

/// Keys and values, whatever their type, as text. One connection: there are thousands.
fn contents(server: &Server, password: &str) -> redis::RedisResult<String> {
    let client = redis::Client::open(format!("redis://{password}{}", server.addr()))?;
    let mut connection = client.get_connection()?;
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query(&mut connection)?;
    let mut text = String::new();
    for key in keys {
        let kind: String = redis::cmd("TYPE").arg(&key).query(&mut connection)?;
        let (name, rest): (&str, &[&str]) = match kind.as_str() {
            "string" => ("GET", &[]),
            "hash" => ("HGETALL", &[]),
            "zset" => ("ZRANGE", &["0", "-1"]),
            "set" => ("SMEMBERS", &[]),
            "list" => ("LRANGE", &["0", "-1"]),
            // Its time came meanwhile.
            "none" => continue,
            other => panic!("what is a {other}?"),
        };
        let value: redis::Value = redis::cmd(name).arg(&key).arg(rest).query(&mut connection)?;
        writeln!(text, "{} {value:?}", String::from_utf8_lossy(&key)).unwrap();
    }
    Ok(text)
}
