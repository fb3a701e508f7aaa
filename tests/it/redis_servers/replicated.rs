//! A primary, a replica, and Sentinels that watch them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{BETWEEN, Options, Server, until};

/// What the Sentinels call the primary.
pub(crate) const NAME: &str = "payments";

/// After so long without an answer a Sentinel takes the primary for down, in milliseconds.
const DOWN_AFTER: &str = "600";

/// Two servers and those who say which of them is the primary.
#[derive(Debug)]
pub(crate) struct Replicated {
    servers: [Server; 2],
    sentinels: Vec<Server>,
    primary: AtomicUsize,
}

impl Replicated {
    /// One Sentinel.
    pub(crate) fn start() -> Self {
        Self::start_with(&Options::default(), 1)
    }

    /// Both servers with `options` (without a password), and so many Sentinels, 1 or 3.
    pub(crate) fn start_with(options: &Options, sentinels: usize) -> Self {
        let primary = Server::start(options);
        let mut options = options.clone();
        options.more.push(format!("replicaof 127.0.0.1 {}", primary.addr().port()));
        let replica = Server::start(&options);
        let this = Self {
            servers: [primary, replica],
            sentinels: Vec::new(),
            primary: AtomicUsize::new(0),
        };
        this.until_replicated();
        let sentinels = (0..sentinels).map(|_| this.sentinel(sentinels / 2 + 1)).collect();
        let this = Self { sentinels, ..this };
        for sentinel in &this.sentinels {
            let know = |field: &str, at_least: usize| {
                let master = sentinel.command(&["SENTINEL", "MASTER", NAME]);
                let mut lines = master.lines().skip_while(|line| *line != field).skip(1);
                lines.next().and_then(|count| count.parse::<usize>().ok()) >= Some(at_least)
            };
            until("a Sentinel knows the replica and the others", || {
                know("num-slaves", 1) && know("num-other-sentinels", this.sentinels.len() - 1)
            });
        }
        this
    }

    fn sentinel(&self, quorum: usize) -> Server {
        let port = self.servers[0].addr().port();
        let more = vec![
            format!("sentinel monitor {NAME} 127.0.0.1 {port} {quorum}"),
            format!("sentinel down-after-milliseconds {NAME} {DOWN_AFTER}"),
            format!("sentinel failover-timeout {NAME} 3000"),
        ];
        let options = Options { more, ..Options::default() };
        let sentinel = Server::start_as(&options, &["--sentinel"]);
        // It looks at the servers every 10 s by itself, and goes from step to step of a fail-over
        // by what it saw.
        sentinel.command(&["SENTINEL", "DEBUG", "INFO-PERIOD", "100", "PUBLISH-PERIOD", "100"]);
        sentinel
    }

    /// The Sentinels' addresses.
    pub(crate) fn sentinels(&self) -> Vec<SocketAddr> {
        self.sentinels.iter().map(Server::addr).collect()
    }

    /// What `store.nodes` takes: the Sentinels.
    pub(crate) fn nodes(&self) -> String {
        let urls: Vec<String> = self.sentinels.iter().map(Server::url).collect();
        urls.join(",")
    }

    /// The present primary.
    pub(crate) fn primary(&self) -> &Server {
        &self.servers[self.primary.load(Ordering::SeqCst)]
    }

    /// Asks the first Sentinel which of them is the primary: on a machine that stands still it may
    /// have decided by itself.
    pub(crate) fn recognise(&self) {
        let said = self.sentinels[0].command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]);
        let is =
            |server: &Server| said == format!("{}\n{}", server.addr().ip(), server.addr().port());
        let place = self.servers.iter().position(is);
        self.primary.store(place.expect("it is one of them"), Ordering::SeqCst);
    }

    /// The other one.
    pub(crate) fn replica(&self) -> &Server {
        &self.servers[1 - self.primary.load(Ordering::SeqCst)]
    }

    /// Waits until the replica has everything that the primary was told.
    pub(crate) fn until_replicated(&self) {
        until("the replica is in step", || self.in_step());
    }

    /// Whether the replica has everything that the primary was told.
    pub(crate) fn in_step(&self) -> bool {
        let told = self.primary().info("master_repl_offset").parse::<u64>();
        let (link, at) = (
            self.replica().info("master_link_status"),
            self.replica().info("slave_repl_offset").parse::<u64>(),
        );
        // Others may go on writing meanwhile.
        link == "up" && told.is_ok_and(|told| at.is_ok_and(|at| at >= told))
    }

    /// From now on the replica misses what is written. It keeps asking for it in vain, and stands
    /// ready to be promoted for a few seconds.
    pub(crate) fn cut_replication(&self) {
        // The primary knows no password: whoever shows one is turned away.
        self.replica().configure("masterauth", "not-a-password");
        self.primary().command(&["CLIENT", "KILL", "TYPE", "replica"]);
        until("the replica has lost its primary", || {
            self.replica().info("master_link_status") == "down"
                && self.primary().info("connected_slaves") == "0"
        });
    }

    /// Kills the primary, and waits until the replica has taken over and all Sentinels say so. What
    /// was not replicated is lost: wait for [`Self::until_replicated`] where nothing shall be.
    pub(crate) fn fail_over(&self) {
        self.primary().kill();
        self.until_taken_over();
    }

    /// Waits until the replica has taken over.
    pub(crate) fn until_taken_over(&self) {
        let heir = self.replica().addr();
        until("Sentinel promotes the replica", || {
            let said = format!("{}\n{}", heir.ip(), heir.port());
            let asked = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME];
            self.sentinels.iter().all(|it| it.try_command(&asked).as_ref() == Ok(&said))
                && self.replica().info("role") == "master"
        });
        self.replica().configure("masterauth", "");
        self.primary.fetch_xor(1, Ordering::SeqCst);
    }

    /// Loses what `write` writes: cuts the replication first, and fails over afterwards.
    pub(crate) fn stale_fail_over(&self, write: impl FnOnce()) {
        self.until_replicated();
        self.cut_replication();
        write();
        self.fail_over();
    }

    /// Starts the server that was killed again, as the replica.
    pub(crate) fn rejoin(&self) {
        self.replica().restart();
        self.follow();
    }

    /// Makes the replica follow the primary, and waits until it has everything. Sentinel does so by
    /// itself, in its own time; where it decides anew meanwhile, the replica is told again.
    pub(crate) fn follow(&self) {
        for _ in 0..6 {
            self.recognise();
            // Sentinel wrote down how it was set when it was promoted.
            self.replica().configure("masterauth", "");
            let primary = self.primary().addr();
            let (host, port) = (primary.ip().to_string(), primary.port().to_string());
            self.replica().command(&["REPLICAOF", &host, &port]);
            let told = Instant::now();
            while told.elapsed() < Duration::from_secs(5) {
                if self.in_step() {
                    return;
                }
                std::thread::sleep(BETWEEN);
            }
        }
        panic!("waited in vain: the replica follows the primary");
    }
}
