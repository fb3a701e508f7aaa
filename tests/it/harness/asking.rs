//! What a test asks of a world, and what it sees there: in payonce's counts, and at the provider.

use payonce::sandbox::{Effect, Fault, Seen};

use super::{Client, Post, Reply, World, until};

impl<L> World<L> {
    /// How often a row of the tables decided.
    pub(crate) fn row(&self, row: &str) -> u64 {
        self.count(&format!("payonce_decisions_total{{row=\"{row}\"}}"))
    }

    /// The value of a counter, 0 if it never counted.
    pub(crate) fn count(&self, series: &str) -> u64 {
        let text = self.payonce().metrics.encode();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }

    /// Waits until nothing is in flight: all deliveries are known and all records written.
    pub(crate) async fn settled(&self) {
        let inflight = self.payonce().exchange.inflight.clone();
        until("all operations settle", || inflight.is_empty()).await;
    }

    /// A new connection.
    pub(crate) async fn client(&self) -> Client {
        Client::to(("127.0.0.1", self.payonce().port)).await
    }

    /// Sends on a connection of its own, reads the answer, and closes once it has it.
    pub(crate) async fn ask(&self, post: &Post) -> Reply {
        let mut client = self.client().await;
        client.send(post).await;
        client.reply().await
    }

    /// The same, and waits until payonce knows that it was delivered.
    pub(crate) async fn done(&self, post: &Post) -> Reply {
        let reply = self.ask(post).await;
        self.settled().await;
        reply
    }

    /// Sends, and resets the connection once the answer is there, without having read it.
    pub(crate) async fn lose(&self, post: &Post) {
        let mut client = self.client().await;
        client.send(post).await;
        client.lose_answer().await;
        self.settled().await;
    }

    /// Asks the sandbox itself.
    pub(crate) async fn provider(&self, post: &Post) -> Reply {
        let mut client = Client::to(self.sandbox.addr()).await;
        client.send(post).await;
        client.reply().await
    }

    /// Decides what goes wrong from now on.
    pub(crate) fn faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.sandbox.set_faults(faults.into_iter().collect());
    }

    /// The effects.
    pub(crate) fn effects(&self) -> Vec<Effect> {
        self.sandbox.effects()
    }

    /// The requests that the sandbox saw.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.sandbox.requests()
    }

    /// The keys that the sandbox saw, in order.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.key.unwrap_or_default()).collect()
    }

    /// Waits until the sandbox has got so many requests.
    pub(crate) async fn until_seen(&self, requests: usize) {
        until("the provider gets the request", || self.seen().len() >= requests).await;
    }
}
