//! A process that does not outlive the test: neither its owner nor, should that be in a static, the
//! test process.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::running::signal;

/// A `redis-server`, killed on drop.
#[derive(Debug)]
pub(super) struct Process {
    server: Child,
    /// Waits for the end of its input, which comes when this process ends in whatever way; then it
    /// kills the server and removes its directory.
    keeper: Child,
}

impl Process {
    /// Starts a server.
    pub(super) fn start(configuration: &Path, arguments: &[String], directory: &Path) -> Self {
        let mut command = Command::new("redis-server");
        command.arg(configuration).args(arguments).current_dir(directory);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = command.spawn().expect("redis-server is installed");
        let mut command = Command::new("sh");
        command.args(["-c", "read _; kill -KILL \"$1\"; rm -rf \"$2\"", "keeper"]);
        command.arg(server.id().to_string()).arg(directory);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { server, keeper: command.spawn().unwrap() }
    }

    /// Whether it is gone without having been told.
    pub(super) fn has_ended(&mut self) -> bool {
        self.server.try_wait().unwrap().is_some()
    }

    /// Sends a signal: `STOP`.
    pub(super) fn signal(&self, name: &str) {
        signal(self.server.id(), name);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The keeper first: once the server was waited for, its number may be another's.
        for child in [&mut self.keeper, &mut self.server] {
            drop(child.kill());
            drop(child.wait());
        }
    }
}
