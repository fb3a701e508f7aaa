//! Binding and shutting down.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of tests may fail the test"
)]

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use payonce::clock::Clock;
use payonce::server::{BindError, Limits, Listen, Server, ServerConfig, Shutdown, Summary, drain};
use tokio::net::TcpStream;

use crate::serving::{Event, Served, Setup, tcp, unix};

const SOON: Duration = Duration::from_secs(10);

async fn bind(listen: Listen) -> Result<Server, BindError> {
    let config =
        ServerConfig { listen: vec![listen], limits: Limits::default(), drain: Duration::ZERO };
    Server::bind(config, Clock::System).await
}

async fn refused(listen: Listen) -> String {
    bind(listen).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_setting() {
    let served = Served::start(Setup::default()).await;
    let at = format!("127.0.0.1:{}", served.port());
    let message = refused(tcp(&at)).await;
    assert!(message.starts_with(&format!("proxy.listen: {at} is in use")), "{message}");
}

#[tokio::test]
async fn an_address_of_another_machine_is_named_with_its_setting() {
    let message = refused(tcp("192.0.2.1:0")).await;
    assert_eq!(message, "proxy.listen: 192.0.2.1:0 is not an address of this machine");
}

#[tokio::test]
async fn a_dead_socket_file_is_replaced_and_a_live_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = bind(unix(path.clone())).await.unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let message = refused(unix(path.clone())).await;
    assert!(message.starts_with("proxy.unix: ") && message.contains("in use"), "{message}");
    drop(server);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("precious");
    std::fs::write(&path, "data").unwrap();
    let message = refused(unix(path.clone())).await;
    assert!(message.contains("is not a socket"), "{message}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");
}

#[tokio::test]
async fn a_socket_path_that_cannot_be_made_names_its_setting() {
    let message = refused(unix("/nowhere/at/all".into())).await;
    assert!(message.starts_with("proxy.unix: cannot listen on /nowhere/at/all"), "{message}");
}

#[tokio::test]
async fn an_answer_in_flight_is_finished_and_closes_its_connection() {
    let mut served = Served::start(Setup::default()).await;
    let mut idle = served.tcp().await;
    idle.get("/echo").await;
    idle.answer().await;
    let mut client = served.tcp().await;
    client.get("/slow").await;
    assert_eq!(served.event(SOON).await, Some(Event::Began));
    served.shutdown.first.cancel();
    assert_eq!(idle.rest().await, "");
    let closed = async { while TcpStream::connect(("127.0.0.1", served.port())).await.is_ok() {} };
    tokio::time::timeout(SOON, closed).await.unwrap();
    assert!(!served.run.is_finished());
    served.paths.gate.add_permits(1);
    let answer = client.answer().await;
    assert_eq!(answer.text(), "slow");
    assert!(answer.head.contains("connection: close"), "{}", answer.head);
    drop(client);
    let summary = tokio::time::timeout(SOON, served.run).await.unwrap().unwrap();
    assert_eq!(summary, Summary::default());
    assert_eq!(summary.to_string(), "drained: nothing was left");
}

#[tokio::test]
async fn a_task_outlives_its_client_and_is_awaited() {
    let mut served = Served::start(Setup::default()).await;
    let mut client = served.tcp().await;
    client.get("/detached").await;
    assert_eq!(served.event(SOON).await, Some(Event::Began));
    drop(client);
    assert_eq!(served.event(SOON).await, Some(Event::Abandoned));
    served.shutdown.first.cancel();
    assert_eq!(served.event(Duration::from_millis(200)).await, None);
    assert!(!served.run.is_finished());
    served.paths.gate.add_permits(1);
    let summary = tokio::time::timeout(SOON, served.run).await.unwrap().unwrap();
    assert_eq!(summary, Summary::default());
}

#[tokio::test]
async fn what_is_left_at_the_drain_deadline_is_dropped_and_counted() {
    let drain = Duration::from_millis(200);
    let mut served = Served::start(Setup { drain, ..Setup::default() }).await;
    let mut client = served.tcp().await;
    client.get("/detached").await;
    assert_eq!(served.event(SOON).await, Some(Event::Began));
    served.shutdown.first.cancel();
    assert_eq!(client.rest().await, "");
    let summary = tokio::time::timeout(SOON, served.run).await.unwrap().unwrap();
    assert_eq!(summary, Summary { connections: 1, tasks: 1 });
    assert!(summary.to_string().contains("outcome of an operation among them is unknown"));
}

#[tokio::test]
async fn a_second_request_to_stop_ends_the_drain_at_once() {
    let mut served = Served::start(Setup::default()).await;
    let mut client = served.tcp().await;
    client.get("/slow").await;
    assert_eq!(served.event(SOON).await, Some(Event::Began));
    served.shutdown.first.cancel();
    served.shutdown.second.cancel();
    let summary = tokio::time::timeout(SOON, served.run).await.unwrap().unwrap();
    assert_eq!(summary.connections, 1);
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn the_first_signal_drains_and_the_second_ends() {
    let stop = Shutdown::new();
    let (first, second) = (stop.first.clone(), stop.second.clone());
    let signals = tokio::task::spawn(drain::signals(first, second));
    // Until the handlers stand, a signal would end this process: let the task install them.
    tokio::task::yield_now().await;
    terminate().await;
    tokio::time::timeout(SOON, stop.first.cancelled()).await.unwrap();
    assert!(!stop.second.is_cancelled());
    terminate().await;
    tokio::time::timeout(SOON, stop.second.cancelled()).await.unwrap();
    signals.await.unwrap().unwrap();
}

async fn terminate() {
    let pid = std::process::id().to_string();
    let sent = tokio::process::Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
    assert!(sent.success());
}
