//! The Redis that the processes share, and what goes wrong with it.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use super::dice::Dice;
use crate::redis_servers::{NAME, Options, Replicated, Server};
use crate::relay::{Direction, End, Relay, Script, Way};

/// How the store is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// One server behind a relay. It is cut off and stands still, and forgets nothing.
    Alone,
    /// The same, which also forgets: it is flushed, killed, and refuses writes when it is full.
    Forgetful,
    /// A primary, a replica and a Sentinel: fail-overs that lose nothing, and some that do.
    Replicated,
}

/// The servers.
pub(crate) struct Store {
    kept: Kept,
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
            Kept::Alone | Kept::Forgetful => {
                let options = Options { append_only: true, ..Options::default() };
                let server = Server::start(&options);
                let relay = Relay::start(server.addr());
                Servers::One { server, relay }
            }
            Kept::Replicated => Servers::Two(Mutex::new(Replicated::start())),
        };
        Self { kept, servers }
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
        }
        env
    }

    /// Something goes wrong for a while; blocks.
    pub(crate) fn harm(&self, dice: Dice, n: u64, time: Duration) -> &'static str {
        match &self.servers {
            Servers::One { server, relay } => {
                let kinds = if self.kept == Kept::Forgetful { 9 } else { 6 };
                one(server, relay, dice.below(kinds, "store", "event", n), dice, n, time)
            }
            Servers::Two(servers) => {
                let servers = servers.lock().unwrap();
                match dice.below(3, "store", "event", n) {
                    0 => {
                        servers.until_replicated();
                        servers.fail_over();
                        rejoin(&servers);
                        "store failed over"
                    }
                    1 => {
                        // What is written meanwhile is lost.
                        servers.stale_fail_over(|| std::thread::sleep(time));
                        rejoin(&servers);
                        "store failed over to a stale replica"
                    }
                    _ => {
                        servers.primary().pause();
                        std::thread::sleep(time);
                        servers.primary().resume();
                        "store stood still"
                    }
                }
            }
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
            Servers::One { server, .. } => contents(server),
            Servers::Two(servers) => contents(servers.lock().unwrap().primary()),
        }
    }
}

/// The server that was killed comes back as the replica. It is told so: a Sentinel that is asked for
/// one fail-over after the other sometimes takes its time.
fn rejoin(servers: &Replicated) {
    servers.replica().restart();
    let primary = servers.primary().addr();
    let (host, port) = (primary.ip().to_string(), primary.port().to_string());
    servers.replica().command(&["REPLICAOF", &host, &port]);
    servers.until_replicated();
}

fn one(
    server: &Server,
    relay: &Relay,
    kind: usize,
    dice: Dice,
    n: u64,
    time: Duration,
) -> &'static str {
    let cut = dice.below(4_000, "cut", "store", n);
    let (script, what) = match kind {
        0 => (Script::refusing(), "store refused"),
        1 => (Script::black_hole(), "store swallowed"),
        2 => (Script::late(Duration::from_millis(40)), "store late"),
        3 => (Script::one(Direction::Up, Way::cut(cut, End::Reset)), "store cut in a command"),
        4 => (Script::one(Direction::Down, Way::cut(cut, End::Reset)), "store cut in an answer"),
        5 => {
            server.pause();
            std::thread::sleep(time);
            server.resume();
            return "store stood still";
        }
        6 => {
            server.flush();
            return "store flushed";
        }
        7 => {
            server.kill();
            std::thread::sleep(time);
            server.restart();
            return "store killed";
        }
        _ => {
            server.configure("maxmemory", "1mb");
            std::thread::sleep(time);
            server.configure("maxmemory", "0");
            return "store full";
        }
    };
    relay.set(script);
    std::thread::sleep(time);
    relay.heal();
    what
}

/// Keys and values, whatever their type, as text. One connection: there are thousands.
fn contents(server: &Server) -> String {
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_connection().unwrap();
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
    let mut text = String::new();
    for key in keys {
        let kind: String = redis::cmd("TYPE").arg(&key).query(&mut connection).unwrap();
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
        let value: redis::Value =
            redis::cmd(name).arg(&key).arg(rest).query(&mut connection).unwrap();
        writeln!(text, "{} {value:?}", String::from_utf8_lossy(&key)).unwrap();
    }
    text
}
