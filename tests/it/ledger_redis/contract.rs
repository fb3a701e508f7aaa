//! Ledgers for the contract, one for each way to reach Redis. They share servers and keep apart by
//! their prefixes.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use payonce::chance::Chance;
use payonce::clock::Clock;
use payonce::ledger::redis::{Config, Login, Node, Redis, Topology};
use payonce::metrics::Metrics;
use payonce::settings::Secret;

use crate::ledger_contract::SPEED;
use crate::redis_servers::{Cluster, NAME, Options, Replicated, Server};

const PASSWORD: &str = "the-password-of-this-test";
/// All that payonce needs of Redis. What it is not allowed to ask (`CONFIG GET`) it does without.
const RIGHTS: &str = "~pay:* &* -@all +hello +select +ping +info +get +set +del \
    +eval +evalsha +script|load +time +zadd +zrem +zrange +zremrangebyscore +pttl +pexpire";

static PLAIN: LazyLock<Server> =
    LazyLock::new(|| Server::start(&Options { socket: true, ..Options::default() }));
static LOCKED: LazyLock<Server> = LazyLock::new(|| {
    let password = Some("the-password-of-somebody-else");
    let user = Some(("payonce", PASSWORD, RIGHTS));
    Server::start(&Options { tls: true, password, user, ..Options::default() })
});
static PAIR: LazyLock<Replicated> =
    LazyLock::new(|| Replicated::start_with(&Options::default(), 3));
static CLUSTER: LazyLock<Cluster> = LazyLock::new(Cluster::start);

/// A ledger's configuration with a prefix of its own. A disk or a network is not faster on a fast
/// clock: what is waited for is half a real minute.
pub(crate) fn config(nodes: &str, topology: Topology, speed: u32) -> Config {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let patience = Duration::from_secs(30) * speed;
    Config {
        nodes: Node::list(nodes).unwrap(),
        topology,
        master: NAME.to_owned(),
        login: Login::default(),
        sentinel_login: Login::default(),
        database: 0,
        ca_file: None,
        prefix: format!("pay:{}:", NEXT.fetch_add(1, Ordering::Relaxed)),
        timeout: patience,
        connect_timeout: patience,
        watch: patience,
    }
}

/// Opens a ledger.
pub(crate) async fn open(config: Config, clock: Clock) -> Redis {
    Redis::open(config, clock, Chance::System, Metrics::new()).await.unwrap()
}

pub(crate) async fn over_tcp(clock: Clock) -> (Redis, ()) {
    (open(config(&PLAIN.url(), Topology::Single, SPEED), clock).await, ())
}

pub(crate) async fn over_a_socket(clock: Clock) -> (Redis, ()) {
    (open(config(&PLAIN.socket_url(), Topology::Single, SPEED), clock).await, ())
}

pub(crate) async fn over_tls(clock: Clock) -> (Redis, ()) {
    let password = Some(Secret::new(PASSWORD.as_bytes().to_vec()));
    let config = Config {
        login: Login { user: Some("payonce".to_owned()), password },
        database: 3,
        ca_file: Some(LOCKED.ca_file().into()),
        ..config(&LOCKED.tls_url(), Topology::Single, SPEED)
    };
    (open(config, clock).await, ())
}

pub(crate) async fn behind_sentinel(clock: Clock) -> (Redis, ()) {
    (open(config(&PAIR.nodes(), Topology::Sentinel, SPEED), clock).await, ())
}

pub(crate) async fn in_a_cluster(clock: Clock) -> (Redis, ()) {
    (open(config(&CLUSTER.nodes(), Topology::Cluster, SPEED), clock).await, ())
}

#[tokio::test]
async fn what_was_written_as_a_user_is_in_its_database() {
    let (ledger, ()) = over_tls(crate::ledger_contract::clock()).await;
    crate::ledger_redis::fail_over::claim(&ledger, 200, "{}").await.unwrap();
    let found = |database: &str| LOCKED.command(&["-n", database, "KEYS", "pay:*c8c8c8*"]);
    assert!(found("3").contains("c8c8c8") && found("0").is_empty());
}
