//! A real redis-server of a test's own, on a Unix socket, ended with the test.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test may fail the test")]

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use payonce::ledger::redis::{Config, Login, Node, Topology};
use tempfile::TempDir;

use super::redis_servers::files;

/// A running server; killed and cleared away when dropped.
pub(crate) struct RedisServer {
    child: Child,
    directory: TempDir,
    options: Vec<String>,
}

impl RedisServer {
    /// Starts one with these options beside: `["--appendonly", "yes"]`.
    pub(crate) fn start(options: &[&str]) -> Self {
        let directory = files();
        let options = options.iter().map(ToString::to_string).collect();
        let child = begin(&directory, &options);
        let server = Self { child, directory, options };
        server.listens();
        server
    }

    /// Kills it.
    pub(crate) fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again where it was.
    pub(crate) fn again(&mut self) {
        self.child = begin(&self.directory, &self.options);
        self.listens();
    }

    fn listens(&self) {
        for _ in 0..2000 {
            if UnixStream::connect(self.socket()).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("redis-server does not listen")
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// A connection for the test itself.
    pub(crate) fn connection(&self) -> redis::Connection {
        let address = format!("unix://{}", self.socket().display());
        redis::Client::open(address).unwrap().get_connection().unwrap()
    }

    /// How payonce gets there, with time-outs for a clock of this speed.
    pub(crate) fn config(&self, speed: u32) -> Config {
        Config {
            nodes: vec![Node::Unix(self.socket())],
            topology: Topology::Single,
            master: String::new(),
            login: Login::default(),
            sentinel_login: Login::default(),
            database: 0,
            ca_file: None,
            prefix: "payonce:".to_owned(),
            timeout: Duration::from_secs(30) * speed,
            connect_timeout: Duration::from_secs(30) * speed,
            watch: Duration::from_millis(20) * speed,
        }
    }
}

fn begin(directory: &TempDir, options: &Vec<String>) -> Child {
    let socket = directory.path().join("redis.sock");
    drop(std::fs::remove_file(&socket));
    let mut command = Command::new("redis-server");
    command
        .args(["--port", "0", "--save", "", "--daemonize", "no", "--unixsocket"])
        .arg(&socket)
        .arg("--dir")
        .arg(directory.path())
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| {
        panic!("redis-server cannot be started ({error}): apt-get install redis-server")
    })
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
