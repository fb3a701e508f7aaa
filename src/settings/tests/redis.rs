//! What a Redis store is told.

use super::*;
use crate::ledger::redis::Topology;

#[test]
fn a_redis_store_is_read_with_its_password_and_its_topology() {
    let settings = load(
        "[store]\nkind = \"redis\"\nnodes = \"rediss://a:1, rediss://b\"\ntopology = \"cluster\"",
        &[("PAYONCE_STORE__USER", "me"), ("PAYONCE_STORE__PASSWORD", "weak")],
    );
    let store = settings.unwrap().store;
    let nodes: Vec<_> = store.redis.nodes.iter().map(ToString::to_string).collect();
    assert_eq!((store.kind, store.redis.topology), (StoreKind::Redis, Topology::Cluster));
    assert_eq!(nodes, ["rediss://a:1", "rediss://b:6379"]);
    assert_eq!(store.redis.login.user.as_deref(), Some("me"));
    assert_eq!(store.redis.login.password.unwrap().expose(), b"weak");
    assert_eq!((store.redis.database, store.redis.prefix.as_str()), (0, "payonce:"));
}

#[test]
fn what_does_not_go_together_in_a_redis_store_is_told_all_at_once() {
    let of = |more: &str| said(load(&format!("[store]\nkind = \"redis\"\n{more}"), &[]));
    assert_eq!(of(""), ["store.nodes: must be set for a redis store"]);
    for (more, wrong) in [
        ("nodes = \"redis://a,redis://b\"", "store.nodes: names several servers"),
        ("nodes = \"redis://a,rediss://b\"\ntopology = \"cluster\"", "store.nodes: must be all"),
        ("nodes = \"unix:///s\"\ntopology = \"cluster\"", "store.nodes: must not be a Unix"),
        ("nodes = \"redis://a\"\ntopology = \"sentinel\"", "store.master: must be set"),
        ("nodes = \"redis://a\"\nmaster = \"m\"", "store.master: must be set"),
        (
            "nodes = \"redis://a\"\ntopology = \"cluster\"\ndatabase = 2",
            "store.database: must be 0 on a Cluster, is 2",
        ),
        ("nodes = \"redis://a\"\nuser = \"u\"", "store.user: needs a password"),
        ("nodes = \"redis://a\"\nprefix = \"a{b}\"", "store.prefix: must be at most"),
        ("nodes = \"http://a\"", "store.nodes: must be \"redis://host:port\""),
        ("nodes = [\"redis://a\"]", "store.nodes: must be addresses"),
    ] {
        let problems = of(more);
        assert_eq!(problems.len(), 1, "{more}: {problems:?}");
        assert!(problems[0].starts_with(wrong), "{more}: {problems:?}");
    }
    let both = of("topology = \"sentinel\"\nconnect_timeout = \"5m\"");
    assert_eq!(both.len(), 3, "{both:?}");
}

#[test]
fn a_redis_across_the_network_without_tls_is_said_aloud() {
    let of = |nodes: &str| {
        let toml = format!("[store]\nkind = \"redis\"\nnodes = \"{nodes}\"");
        load(&toml, &[]).unwrap().warnings.join("\n").contains("plain text")
    };
    assert!(of("redis://redis.internal:6379"));
    for nodes in ["rediss://redis.internal", "redis://127.0.0.1", "redis://[::1]:1", "unix:///s"] {
        assert!(!of(nodes), "{nodes}");
    }
}
