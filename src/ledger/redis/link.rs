//! A connection that is in use: who serves it, what it said of itself, and one attempt at a time to
//! make it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, Value};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::breaker::{Admission, Breaker};
use super::dial::Login;
use super::facts::Facts;
use super::fault::Fault;
use super::keys::Keys;
use super::node::Node;
use crate::clock::Timestamp;
use crate::server::Tasks;

/// How many calls one server may have under way at one time; one more waits within its time-out.
const CALLS: usize = 1024;

/// A connection to a master. Dropped with its last user, and closed then.
pub(super) struct Link {
    node: Node,
    connection: MultiplexedConnection,
    over: Arc<AtomicBool>,
    _end: DropGuard,
}

impl Link {
    /// Runs a connection's driver for as long as somebody holds the link.
    pub(super) fn new(
        node: Node,
        connection: MultiplexedConnection,
        driver: impl Future<Output = ()> + Send + 'static,
        tasks: &Tasks,
    ) -> Self {
        let end = CancellationToken::new();
        let (over, ended) = (Arc::new(AtomicBool::new(false)), end.clone());
        let flag = Arc::clone(&over);
        tasks.spawn(async move {
            tokio::select! {
                () = driver => {}
                () = ended.cancelled() => {}
            }
            flag.store(true, Ordering::Release);
        });
        Self { node, connection, over, _end: end.drop_guard() }
    }

    /// Whether the server has closed it: nothing that is sent on it would arrive.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Sends everything in one go and awaits all answers; the caller bounds the time. An answer may
    /// be the server's error.
    pub(super) async fn send(
        &self,
        cmds: impl IntoIterator<Item = &Cmd>,
    ) -> Result<Vec<Result<Value, Fault>>, Fault> {
        let mut pipeline = Pipeline::new();
        let mut count = 0;
        for cmd in cmds {
            pipeline.add_command(cmd.clone());
            count += 1;
        }
        // A clone is a handle on the same connection.
        let answers = self.connection.clone().send_packed_commands(&pipeline, 0, count).await;
        let answers = answers.map_err(|error| {
            Fault::Silent(format!("the connection to {} broke: {}", self.node, error.category()))
        })?;
        if answers.len() != count {
            return Err(Fault::Silent(format!("{} left a command unanswered", self.node)));
        }
        Ok(answers.into_iter().map(|answer| self.read(answer)).collect())
    }

    fn read(&self, answer: Value) -> Result<Value, Fault> {
        if let Value::ServerError(error) = &answer {
            return Err(Fault::of(error, &self.node));
        }
        Ok(answer)
    }

    /// Says who payonce is, and chooses the database.
    pub(super) async fn log_in(&self, login: &Login, database: u32) -> Result<(), Fault> {
        let mut cmds = Vec::new();
        if let Some(password) = &login.password {
            let mut auth = redis::cmd("AUTH");
            if let Some(user) = &login.user {
                auth.arg(user);
            }
            auth.arg(password.expose());
            cmds.push(auth);
        }
        if database != 0 {
            let mut select = redis::cmd("SELECT");
            select.arg(database);
            cmds.push(select);
        }
        if cmds.is_empty() {
            return Ok(());
        }
        for answer in self.send(&cmds).await? {
            if let Err(unreached @ Fault::Unreached(_)) = answer {
                return Err(unreached);
            }
            match refusal(&answer) {
                None => {}
                Some(code @ ("WRONGPASS" | "NOAUTH" | "NOPERM" | "ERR")) => {
                    let what = "does not take the user, password or database";
                    return Err(Fault::Unfit(format!("{} {what} ({code})", self.node)));
                }
                Some(code) => {
                    let what = format!("{} refused the login ({code})", self.node);
                    return Err(Fault::Unreached(what));
                }
            }
        }
        Ok(())
    }

    /// Asks the server about itself, and makes the script known to it.
    pub(super) async fn introduce(&self) -> Result<Facts, Fault> {
        let mut save = redis::cmd("CONFIG");
        save.arg("GET").arg("save");
        let asked = [redis::cmd("INFO"), save, Keys::load_script()];
        let answers = self.send(&asked).await?;
        if answers.iter().any(|answer| refusal(answer) == Some("NOAUTH")) {
            return Err(Fault::Unfit(format!("{} asks for a password", self.node)));
        }
        let mut answers = answers.into_iter();
        // What it forbids it does not say; what it does not say is not trusted.
        let mut next = || answers.next().and_then(Result::ok).unwrap_or(Value::Nil);
        let (info, save) = (next(), next());
        let facts = Facts::read(&info, &save);
        match facts.unfit() {
            Some(why) => Err(Fault::Unfit(format!("{}: {why}", self.node))),
            None => Ok(facts),
        }
    }
}

/// The code of a server's error.
fn refusal(answer: &Result<Value, Fault>) -> Option<&str> {
    match answer {
        Err(Fault::Refused(code)) => Some(code),
        Ok(_) | Err(_) => None,
    }
}

/// Where the link to one server is kept, and whether that server is to be asked.
pub(super) struct Seat {
    link: Mutex<Option<Arc<Link>>>,
    tries: AtomicU64,
    breaker: std::sync::Mutex<Breaker>,
    /// One permit for each call that is under way.
    pub(super) calls: Semaphore,
}

impl Default for Seat {
    fn default() -> Self {
        Self {
            link: Mutex::default(),
            tries: AtomicU64::default(),
            breaker: std::sync::Mutex::default(),
            calls: Semaphore::new(CALLS),
        }
    }
}

impl Seat {
    /// Whether the server may be asked at `now`. Hints are never what tries whether it is back:
    /// they are not waited for, so that nobody might hear of it.
    pub(super) fn admit(&self, now: Timestamp, only_hints: bool) -> Admission {
        let mut breaker = self.breaker();
        let mut closed = *breaker;
        if only_hints && closed.answered().is_some() {
            return Admission::Refuse;
        }
        breaker.admit(now)
    }

    /// Nothing awaits while this is held.
    pub(super) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The link, or one that `make` makes. Of all that wait here at one time one makes it; if that
    /// fails the others fail with it, rather than each with a wait of its own.
    pub(super) async fn link<F>(&self, make: F) -> Result<Arc<Link>, Fault>
    where
        F: AsyncFnOnce() -> Result<Link, Fault>,
    {
        let tries = self.tries.load(Ordering::Acquire);
        let mut held = self.link.lock().await;
        if let Some(link) = held.as_ref().filter(|link| !link.is_over()) {
            return Ok(Arc::clone(link));
        }
        *held = None;
        if self.tries.load(Ordering::Acquire) != tries {
            let what = "another call could not connect a moment ago";
            return Err(Fault::Unreached(what.to_owned()));
        }
        self.tries.fetch_add(1, Ordering::AcqRel);
        let link = Arc::new(make().await?);
        *held = Some(Arc::clone(&link));
        Ok(link)
    }

    /// Lets go of a link that did not answer, unless another stands there already.
    pub(super) async fn drop_link(&self, link: &Arc<Link>) {
        let mut held = self.link.lock().await;
        if held.as_ref().is_some_and(|held| Arc::ptr_eq(held, link)) {
            *held = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_never_what_tries_whether_a_server_is_back() {
        let (seat, now) = (Seat::default(), Timestamp::from_millis(0));
        assert_eq!(seat.admit(now, true), Admission::Ask);
        for _ in 0..5 {
            seat.breaker().failed(now, 1.0);
        }
        let later = Timestamp::from_millis(3_600_000);
        assert_eq!(seat.admit(later, true), Admission::Refuse);
        assert_eq!(seat.admit(later, false), Admission::Ask, "the hint was the probe");
        seat.breaker().answered();
        assert_eq!(seat.admit(later, true), Admission::Ask);
    }
}
