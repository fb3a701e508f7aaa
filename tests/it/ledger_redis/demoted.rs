//! One address for whoever is the master, as a managed Redis has it: a fail-over moves the address,
//! and the demoted server may keep its connections.

use std::sync::Arc;

use payonce::clock::Clock;
use payonce::ledger::Claimed;
use payonce::ledger::redis::Topology;

use super::contract::{config, open};
use super::fail_over::claim;
use crate::redis_servers::{Options, Server, beside};
use crate::relay::Relay;

#[tokio::test]
async fn a_demoted_master_is_left_for_the_one_that_has_its_address_now() {
    let start = || Arc::new(Server::start(&Options::default()));
    let (old, new) = beside(move || (start(), start())).await;
    let address = Relay::start(old.addr());
    let nodes = format!("redis://{}", address.addr());
    let ledger = open(config(&nodes, Topology::Single, 1), Clock::System).await;
    assert!(matches!(claim(&ledger, 1, "{}").await, Ok(Claimed::Fresh(_))));

    address.toward(new.addr());
    old.command(&["REPLICAOF", "127.0.0.1", &new.addr().port().to_string()]);
    assert_eq!(address.live(), 1, "the connection to it lives on");
    let claimed = claim(&ledger, 2, "{}").await;
    assert!(matches!(claimed, Ok(Claimed::Fresh(_))), "{claimed:?}");
    assert_eq!(new.keys("pay:").iter().filter(|key| key.contains("0202")).count(), 1);
}
