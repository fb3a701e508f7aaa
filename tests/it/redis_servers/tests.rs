//! That the servers are what they are said to be.

use super::{Cluster, NAME, Options, Replicated, Server, beside};

#[test]
fn a_server_answers_over_tcp_and_forgets_with_a_flush() {
    let server = Server::start(&Options::default());
    assert_eq!(server.command(&["SET", "a", "1"]), "OK");
    assert_eq!((server.command(&["GET", "a"]), server.keys("a")), ("1".into(), vec!["a".into()]));
    server.flush();
    assert_eq!(server.keys(""), Vec::<String>::new());
    assert!(
        server.info("redis_version").starts_with(['7', '8']),
        "{}",
        server.info("redis_version")
    );
}

#[test]
fn a_password_is_asked_for_and_a_user_may_do_what_its_rules_say() {
    let user = Some(("payonce", "users-word", "~p:* +@all -flushall"));
    let options = Options { password: Some("default-word"), user, ..Options::default() };
    let server = Server::start(&options);
    server.command(&["SET", "p:a", "1"]);
    let stranger = ["--no-auth-warning", "--user", "payonce", "--pass", "users-word"];
    assert_eq!(server.command(&[&stranger[..], &["GET", "p:a"]].concat()), "1");
    let refused = server.try_command(&[&stranger[..], &["FLUSHALL"]].concat()).unwrap_err();
    assert!(refused.contains("NOPERM"), "{refused}");
}

#[test]
fn a_server_speaks_tls_and_listens_on_a_socket() {
    let server = Server::start(&Options { tls: true, socket: true, ..Options::default() });
    let port = server.tls_addr().port().to_string();
    let ca = server.ca_file();
    assert_eq!(server.command(&["-p", &port, "--tls", "--cacert", &ca, "PING"]), "PONG");
    let socket = server.socket_url();
    let path = socket.strip_prefix("unix://").unwrap();
    assert_eq!(server.command(&["-s", path, "PING"]), "PONG");
    assert!(server.tls_url().starts_with("rediss://127.0.0.1:"));
}

#[test]
fn a_killed_server_comes_back_with_what_was_on_disk() {
    for append_only in [false, true] {
        let server = Server::start(&Options { append_only, ..Options::default() });
        server.command(&["SET", "a", "1"]);
        server.kill();
        assert!(server.try_command(&["PING"]).is_err());
        server.restart();
        assert_eq!(server.command(&["EXISTS", "a"]), if append_only { "1" } else { "0" });
    }
}

#[tokio::test]
async fn a_fresh_server_is_there_while_the_runtime_goes_on() {
    let starting = beside(|| Server::start(&Options::default()));
    let (server, ()) = tokio::join!(starting, tokio::task::yield_now());
    assert_eq!(server.command(&["PING"]), "PONG");
}

#[test]
fn a_full_server_refuses_writes() {
    let memory = Some(("2mb", "noeviction"));
    let server = Server::start(&Options { memory, ..Options::default() });
    let value = "x".repeat(100_000);
    let full = (0..100).find_map(|n| server.try_command(&["SET", &n.to_string(), &value]).err());
    assert!(full.unwrap().contains("OOM"));
}

#[test]
fn a_server_can_be_caught_loading() {
    let server = Server::start(&Options::slow_to_load());
    server.command(&["SET", "a", "1"]);
    server.fill(5_000);
    server.restart_slowly();
    assert!(server.try_command(&["GET", "a"]).unwrap_err().contains("LOADING"));
    server.load_on();
    assert_eq!(server.command(&["GET", "a"]), "1");
}

#[test]
fn a_paused_server_answers_when_it_goes_on() {
    let server = Server::start(&Options::default());
    server.pause();
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| server.command(&["PING"]));
        server.resume();
        assert_eq!(asking.join().unwrap(), "PONG");
    });
}

#[test]
fn sentinel_promotes_the_replica_and_only_unreplicated_writes_are_lost() {
    let pair = Replicated::start();
    assert_eq!(pair.sentinels().len(), 1);
    assert!(pair.nodes().starts_with("redis://127.0.0.1:"), "{NAME}");
    pair.primary().command(&["SET", "kept", "1"]);
    let old = pair.primary().addr();
    pair.stale_fail_over(|| drop(pair.primary().command(&["SET", "lost", "1"])));
    assert_ne!(pair.primary().addr(), old);
    assert_eq!(pair.primary().command(&["EXISTS", "kept"]), "1");
    assert_eq!(pair.primary().command(&["EXISTS", "lost"]), "0");
    pair.rejoin();
    assert_eq!(pair.replica().addr(), old);
}

#[test]
fn a_cluster_is_whole_again_after_a_master_was_killed() {
    let cluster = Cluster::start();
    assert_eq!((cluster.masters().len(), cluster.nodes().split(',').count()), (3, 6));
    let place = cluster.holder("a");
    cluster.servers()[place].command(&["SET", "a", "1"]);
    cluster.until_replicated();
    cluster.fail_over(place);
    let heir = cluster.holder("a");
    assert_ne!(heir, place);
    assert_eq!(cluster.servers()[heir].command(&["GET", "a"]), "1");
    cluster.rejoin(place);
    assert_eq!(cluster.servers()[place].info("role"), "slave");
}
