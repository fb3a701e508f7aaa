//! A store that is down, in all the ways in which one can be: what is sent then, what is not, and
//! that all is well afterwards.

use std::sync::Arc;

use crate::harness::{Post, World, until};
use crate::redis_servers::{Options, Server, beside};
use crate::relay::{Relay, Script};

use super::{charge, customer, on};

/// What befalls the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// Killed, and started again with what was on disk.
    Killed,
    /// Nobody listens, and connections that lived are reset.
    Refused,
    /// Packets vanish.
    BlackHole,
    /// It stands still, and the system accepts connections for it.
    Paused,
    /// `maxmemory` is reached, and nothing may be evicted.
    Full,
    /// It has become a replica.
    ReadOnly,
    /// It was restarted and reads its data.
    Loading,
}

/// A store, a relay before it, and a payonce.
struct Stricken {
    server: Arc<Server>,
    relay: Relay,
    world: World,
}

impl Stricken {
    async fn start() -> Self {
        let server = Arc::new(Server::start(&Options::slow_to_load()));
        let relay = Relay::start(server.addr());
        let world = on(&format!("redis://{}", relay.addr())).start().await;
        Self { server, relay, world }
    }

    /// Another process with the same store and the same provider, that remembers nothing.
    async fn another(&self) -> World {
        on(&self.server.url()).upstream(self.world.sandbox.addr()).start().await
    }

    async fn strike(&self, trouble: Trouble) {
        let server = Arc::clone(&self.server);
        match trouble {
            Trouble::Killed => server.kill(),
            Trouble::Refused => {
                self.relay.set(Script::refusing());
                self.relay.end_all(crate::relay::End::Reset);
            }
            Trouble::BlackHole => self.relay.set(Script::black_hole()),
            Trouble::Paused => server.pause(),
            Trouble::Full => server.configure("maxmemory", "1"),
            Trouble::ReadOnly => {
                server.command(&["REPLICAOF", "127.0.0.1", "1"]);
            }
            Trouble::Loading => {
                let load = move || {
                    server.fill(5_000);
                    server.restart_slowly();
                };
                beside(load).await;
            }
        }
    }

    async fn mend(&self, trouble: Trouble) {
        let server = Arc::clone(&self.server);
        match trouble {
            Trouble::Killed => beside(move || server.restart()).await,
            Trouble::Refused | Trouble::BlackHole => self.relay.heal(),
            Trouble::Paused => server.resume(),
            Trouble::Full => server.configure("maxmemory", "0"),
            Trouble::ReadOnly => {
                server.command(&["REPLICAOF", "NO", "ONE"]);
            }
            Trouble::Loading => beside(move || server.load_on()).await,
        }
    }

    /// Asks until the store takes part again; each time the answer is `id`.
    async fn until_recovered(&self, post: &Post, id: &str) {
        let began = std::time::Instant::now();
        loop {
            let reply = self.world.done(post).await;
            assert_eq!((reply.status, reply.id().as_str()), (200, id), "{reply:?}");
            if reply.header("payonce-degraded").is_none() {
                return;
            }
            assert!(began.elapsed().as_secs() < 20, "it does not recover");
        }
    }
}

async fn survives(trouble: Trouble) {
    let stricken = Stricken::start().await;
    let world = &stricken.world;
    let before = world.done(&charge("before")).await;
    before.is(200, "executed");
    assert_eq!(before.header("payonce-degraded"), None);

    stricken.strike(trouble).await;
    let charged = world.done(&charge("meanwhile")).await;
    charged.is(200, "executed");
    assert_eq!(charged.header("payonce-degraded"), Some("store"));
    let again = world.done(&charge("meanwhile")).await;
    assert_eq!((again.status, again.id()), (200, charged.id()));
    let sent = world.seen().len();
    world.done(&customer("meanwhile")).await.refused(503, "payonce_store_down");
    assert_eq!(world.seen().len(), sent, "it was refused, and something was sent");
    assert_eq!(world.effects().len(), 2);

    stricken.mend(trouble).await;
    stricken.until_recovered(&charge("meanwhile"), &charged.id()).await;
    let another = stricken.another().await;
    let reply = another.done(&charge("meanwhile")).await;
    assert_eq!((reply.status, reply.id()), (200, charged.id()), "{reply:?}");
    let reply = another.done(&charge("before")).await;
    assert_eq!((reply.status, reply.id()), (200, before.id()), "{reply:?}");
    assert_eq!(world.effects().len(), 2);
    world.done(&customer("meanwhile")).await.is(200, "executed");
    assert_eq!(world.effects().len(), 3);
}

#[tokio::test]
async fn a_killed_store_does_not_stop_payments_and_nothing_happens_twice() {
    survives(Trouble::Killed).await;
}

#[tokio::test]
async fn a_store_that_refuses_connections_does_not_stop_payments_and_nothing_happens_twice() {
    survives(Trouble::Refused).await;
}

#[tokio::test]
async fn a_black_hole_does_not_stop_payments_and_nothing_happens_twice() {
    survives(Trouble::BlackHole).await;
}

#[tokio::test]
async fn a_paused_store_does_not_stop_payments_and_nothing_happens_twice() {
    survives(Trouble::Paused).await;
}

#[tokio::test]
async fn a_full_store_does_not_stop_payments_and_nothing_happens_twice() {
    survives(Trouble::Full).await;
}

#[tokio::test]
async fn a_store_that_became_a_replica_does_not_stop_payments_and_nothing_happens_twice() {
    survives(Trouble::ReadOnly).await;
}

#[tokio::test]
async fn a_loading_store_does_not_stop_payments_and_nothing_happens_twice() {
    survives(Trouble::Loading).await;
}

#[tokio::test]
async fn a_claim_that_was_written_unheard_is_this_processs_own_when_it_asks_again() {
    let stricken = Stricken::start().await;
    let world = &stricken.world;
    world.done(&charge("before")).await.is(200, "executed");
    // Redis hears what is asked, and payonce hears nothing.
    let deaf = Script { up: crate::relay::Way::default(), ..Script::black_hole() };
    stricken.relay.set(Script { accept: crate::relay::Accept::Forward, ..deaf });
    let charged = world.done(&charge("unheard")).await;
    charged.is(200, "executed");
    assert_eq!(charged.header("payonce-degraded"), Some("store"));
    stricken.relay.heal();
    stricken.until_recovered(&charge("unheard"), &charged.id()).await;
    let reply = stricken.another().await.done(&charge("unheard")).await;
    assert_eq!((reply.status, reply.id()), (200, charged.id()));
    assert_eq!(world.effects().len(), 2);
}

#[tokio::test]
async fn a_payonce_that_starts_without_its_store_serves_as_the_rule_says_and_finds_it_later() {
    let stricken = Stricken::start().await;
    stricken.strike(Trouble::Refused).await;
    let late = on(&format!("redis://{}", stricken.relay.addr()));
    let late = late.upstream(stricken.world.sandbox.addr()).start().await;
    let charged = late.done(&charge("early")).await;
    charged.is(200, "executed");
    late.done(&customer("early")).await.refused(503, "payonce_store_down");
    stricken.mend(Trouble::Refused).await;
    stricken.until_recovered(&charge("early"), &charged.id()).await;
    let one = stricken.world.effects();
    assert_eq!(one.len(), 1);
}

#[tokio::test]
async fn the_breaker_opens_so_that_nobody_waits_and_closes_again() {
    let change = |world: &World, change: &str| {
        world.count(&format!("payonce_store_breaker_total{{change=\"{change}\"}}"))
    };
    let stricken = Stricken::start().await;
    let world = &stricken.world;
    world.done(&charge("before")).await.is(200, "executed");
    assert_eq!(change(world, "opened"), 0);
    stricken.strike(Trouble::BlackHole).await;
    let mut asked = 0;
    while change(world, "opened") == 0 {
        asked += 1;
        assert!(asked < 20, "it does not open");
        world.ask(&charge(&format!("waited-{asked}"))).await.is(200, "executed");
    }
    assert_eq!(change(world, "closed"), 0);
    let began = std::time::Instant::now();
    for n in 0..10 {
        world.ask(&charge(&format!("at once {n}"))).await.is(200, "executed");
    }
    // Each would have waited for 300 ms at least. A probe may fall to one of them.
    let took = began.elapsed();
    assert!(took < std::time::Duration::from_millis(2_000), "{took:?}");
    stricken.mend(Trouble::BlackHole).await;
    world.settled().await;
    let after = world.done(&charge("after")).await;
    stricken.until_recovered(&charge("after"), &after.id()).await;
    until("it closes", || change(world, "closed") == 1).await;
    assert_eq!(world.effects().len(), 1 + asked + 10 + 1);
}
