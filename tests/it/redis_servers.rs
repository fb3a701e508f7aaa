//! Real Redis servers of the tests' own: on free loopback ports, with all files in a directory that
//! goes with them, killed when they are dropped, when a test panics, and when the whole test
//! process ends (so that one may stand in a static and be shared).
//!
//! Everything here blocks; a test on tokio with a payonce in its own runtime waits for the slow
//! ones with [`beside`]. A Redis that the machine runs already is never touched.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of tests may fail the test"
)]

mod certificates;
mod cluster;
mod process;
mod replicated;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

pub(crate) use cluster::Cluster;
pub(crate) use replicated::{NAME, Replicated};

use crate::port::Port;
use process::Process;

/// The longest that a condition is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at a condition.
const BETWEEN: Duration = Duration::from_millis(20);
/// The longest that one command may take, in seconds; a paused server never answers.
const COMMAND: &str = "10";

/// How a server is set up. By default: TCP, no password, nothing on disk, no memory limit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// `requirepass`: the password of the default user.
    pub(crate) password: Option<&'static str>,
    /// A further user: name, password, and its rules, such as `~* &* +@all`.
    pub(crate) user: Option<(&'static str, &'static str, &'static str)>,
    /// A second port, with TLS.
    pub(crate) tls: bool,
    /// A Unix socket as well.
    pub(crate) socket: bool,
    /// Whether all writes go to disk, and are there again after [`Server::restart`].
    pub(crate) append_only: bool,
    /// `maxmemory` and `maxmemory-policy`.
    pub(crate) memory: Option<(&'static str, &'static str)>,
    /// Further lines of its configuration file.
    pub(crate) more: Vec<String>,
}

/// A Redis server.
#[derive(Debug)]
pub(crate) struct Server {
    port: Port,
    tls_port: Option<Port>,
    password: Option<&'static str>,
    arguments: Vec<String>,
    process: Mutex<Option<Process>>,
    directory: tempfile::TempDir,
}

impl Options {
    /// Writes to disk, and takes 2 ms for each key to load it: see [`Server::restart_slowly`].
    pub(crate) fn slow_to_load() -> Self {
        let more = ["key-load-delay 2000", "loading-process-events-interval-bytes 1024"];
        Self { append_only: true, more: more.map(str::to_owned).to_vec(), ..Self::default() }
    }
}

impl Server {
    /// Starts one and waits until it answers.
    pub(crate) fn start(options: &Options) -> Self {
        Self::start_as(options, &[])
    }

    /// Likewise, with arguments after the configuration file: `--sentinel`.
    fn start_as(options: &Options, arguments: &[&str]) -> Self {
        let directory = files();
        let (port, tls_port) = (Port::free(), options.tls.then(Port::free));
        let this = Self {
            password: options.password,
            arguments: arguments.iter().map(|it| (*it).to_owned()).collect(),
            process: Mutex::default(),
            port,
            tls_port,
            directory,
        };
        std::fs::write(this.path("redis.conf"), this.configuration(options)).unwrap();
        this.restart();
        this
    }

    fn configuration(&self, options: &Options) -> String {
        let mut lines = vec![
            "bind 127.0.0.1".to_owned(),
            format!("port {}", self.port.number()),
            format!("dir {}", self.directory.path().display()),
            format!("logfile {}", self.path("log").display()),
        ];
        if !self.arguments.contains(&"--sentinel".to_owned()) {
            let appending = if options.append_only { "yes" } else { "no" };
            lines.push("save \"\"".to_owned());
            lines.push(format!("appendonly {appending}\nappendfsync always"));
            lines.push("repl-diskless-sync-delay 0\nenable-debug-command yes".to_owned());
        }
        lines.extend(options.password.map(|it| format!("requirepass {it}")));
        lines.extend(
            options.user.map(|(name, word, rules)| format!("user {name} on >{word} {rules}")),
        );
        if let Some((size, policy)) = options.memory {
            lines.push(format!("maxmemory {size}\nmaxmemory-policy {policy}"));
        }
        if let Some(port) = &self.tls_port {
            certificates::write(self.directory.path());
            let file = |name: &str| self.path(name).display().to_string();
            lines.push(format!(
                "tls-port {}\ntls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}",
                port.number(),
                file("cert.pem"),
                file("key.pem"),
                file("ca.pem")
            ));
            lines.push("tls-auth-clients no".to_owned());
        }
        if options.socket {
            lines.push(format!("unixsocket {}", self.path("socket").display()));
        }
        lines.extend(options.more.iter().cloned());
        lines.join("\n") + "\n"
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where it listens without TLS.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// `redis://127.0.0.1:port`.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.addr())
    }

    /// `rediss://127.0.0.1:port`.
    pub(crate) fn tls_url(&self) -> String {
        format!("rediss://{}", self.tls_addr())
    }

    /// Where it listens with TLS.
    pub(crate) fn tls_addr(&self) -> SocketAddr {
        self.tls_port.as_ref().expect("it was started with TLS").addr()
    }

    /// The authority that vouches for its certificate, as a PEM file.
    pub(crate) fn ca_file(&self) -> String {
        self.path("ca.pem").display().to_string()
    }

    /// `unix:///path`.
    pub(crate) fn socket_url(&self) -> String {
        format!("unix://{}", self.path("socket").display())
    }

    /// What a command is answered, as text; one line for each element.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        self.try_command(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// What a command is answered, or the error: its own, or that nothing was answered.
    pub(crate) fn try_command(&self, words: &[&str]) -> Result<String, String> {
        let mut command = Command::new("timeout");
        command.args([COMMAND, "redis-cli", "-e", "-h", "127.0.0.1"]);
        command.arg("-p").arg(self.port.number().to_string()).args(words);
        command.env_remove("REDISCLI_AUTH").stdin(Stdio::null());
        command.envs(self.password.map(|password| ("REDISCLI_AUTH", password)));
        let output = command.output().expect("redis-cli is installed");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        Err(format!("{}{}", text(&output.stdout), text(&output.stderr)))
    }

    /// A field of `INFO`, empty if there is none.
    pub(crate) fn info(&self, field: &str) -> String {
        let all = self.try_command(&["INFO"]).unwrap_or_default();
        let line = all.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    }

    /// What `CONFIG SET` changes.
    pub(crate) fn configure(&self, name: &str, value: &str) {
        assert_eq!(self.command(&["CONFIG", "SET", name, value]), "OK");
    }

    /// The keys that begin so.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        let keys = self.command(&["KEYS", &format!("{prefix}*")]);
        keys.lines().filter(|key| !key.is_empty()).map(str::to_owned).collect()
    }

    /// Forgets everything.
    pub(crate) fn flush(&self) {
        assert_eq!(self.command(&["FLUSHALL"]), "OK");
    }

    /// Kills it. Nobody listens on its port then.
    pub(crate) fn kill(&self) {
        drop(self.process.lock().unwrap().take());
    }

    /// Starts it again on its port, and waits until it answers. What was not on disk is gone.
    pub(crate) fn restart(&self) {
        self.restart_until("PONG");
    }

    /// Likewise, and waits only until it says that it is loading what was on disk, which goes on
    /// until [`Self::load_on`]. Needs [`Options::slow_to_load`] and [`Self::fill`].
    pub(crate) fn restart_slowly(&self) {
        self.restart_until("LOADING");
    }

    /// A loading server hurries up.
    pub(crate) fn load_on(&self) {
        self.configure("key-load-delay", "0");
        until("the server has loaded its data", || self.try_command(&["PING"]).is_ok());
    }

    /// Makes so many keys, on disk as a snapshot, so that loading them can be watched.
    pub(crate) fn fill(&self, keys: u32) {
        self.command(&["DEBUG", "POPULATE", &keys.to_string(), "filler", "200"]);
        self.command(&["BGREWRITEAOF"]);
        until("the file is rewritten", || {
            let [running, planned] = ["aof_rewrite_in_progress", "aof_rewrite_scheduled"];
            self.info(running) == "0" && self.info(planned) == "0"
        });
    }

    fn restart_until(&self, answer: &str) {
        self.kill();
        let configuration = self.path("redis.conf");
        let process = Process::start(&configuration, &self.arguments, self.directory.path());
        *self.process.lock().unwrap() = Some(process);
        until("a redis-server answers PING", || {
            // A server that ended by itself says why in its log.
            let mut process = self.process.lock().unwrap();
            let ended = process.as_mut().is_none_or(Process::has_ended);
            drop(process);
            assert!(!ended, "redis-server ended: {}", self.log());
            let said = self.try_command(&["PING"]).unwrap_or_else(|error| error);
            said.starts_with(answer)
        });
    }

    /// It stands still (`SIGSTOP`): connections stay, and nothing is answered.
    pub(crate) fn pause(&self) {
        self.signal("STOP");
    }

    /// It goes on.
    pub(crate) fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let process = self.process.lock().unwrap();
        process.as_ref().expect("it runs").signal(name);
    }

    /// What it wrote to its log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

/// Where a server keeps its files: in memory, where the system has a place for that. It outlives a
/// killed server as a disk does, and never makes a test wait for what else the disk has to do: a
/// busy one took longer for an `fsync` than the tests let payonce wait for a store.
pub(crate) fn files() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Waits until `holds`.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(BETWEEN);
    }
}

/// Runs what blocks on a thread of its own, so that a payonce in this runtime goes on meanwhile.
pub(crate) async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}
