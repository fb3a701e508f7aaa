//! A payonce process before a sandbox: started, killed, started again, searched for secrets.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use payonce::clock::Clock;
use payonce::sandbox::{Config, Effect, Fault, Sandbox, Seen};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// Longest wait for anything; a test that reaches it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// The API key of every test: nobody's, and easy to search for.
pub(crate) const API_KEY: &str = "sk_test_shop_SecretOfTheShop4711";
/// The only thing that could be mistaken for a card.
pub(crate) const CARD: &str = "4242424242424242";
/// How many idempotency keys are searched for.
const KEYS: usize = 200;
const ADMIN_TOKEN: &str = "an-admin-token-for-tests";

/// A sandbox in this process and a payonce of its own before it.
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) payonce: Payonce,
    pub(crate) dir: tempfile::TempDir,
    /// What the processes said that were killed.
    said_before: String,
}

impl World {
    pub(crate) async fn start() -> Self {
        let sandbox = Sandbox::start(Config::local(Clock::System, 7)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let payonce = Payonce::start(sandbox.addr(), dir.path(), None).await;
        Self { sandbox, payonce, dir, said_before: String::new() }
    }

    /// Where an application finds payonce; the same after [`World::kill_and_start_again`].
    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.payonce.proxy)
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.sandbox.set_faults(vec![fault]);
    }

    /// What was truly executed for this intent.
    pub(crate) fn effects(&self, intent: &str) -> Vec<Effect> {
        let mut effects = self.sandbox.effects();
        effects.retain(|effect| effect.intent.as_deref() == Some(intent));
        effects
    }

    /// The requests that reached the sandbox for this intent.
    pub(crate) fn seen(&self, intent: &str) -> Vec<Seen> {
        let mut seen = self.sandbox.requests();
        seen.retain(|seen| seen.intent.as_deref() == Some(intent));
        seen
    }

    /// Waits until a request for this intent was read whole by the sandbox.
    pub(crate) async fn arrived(&self, intent: &str) {
        until("the request reaches the sandbox", || {
            self.seen(intent).iter().any(|seen| seen.body_bytes.is_some())
        })
        .await;
    }

    /// Waits until no operation is open: every answer was delivered or lost, and that is recorded.
    pub(crate) async fn settled(&self) {
        let wait = async {
            while !self.payonce.ops(&["list", "--json"]).await.contains(r#""operations":[]"#) {}
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("an operation stays open");
    }

    /// SIGKILL, and a new process on the same store and port.
    pub(crate) async fn kill_and_start_again(&mut self) {
        self.payonce.child.kill().await.unwrap();
        self.said_before.push_str(&self.payonce.all_said().await);
        let at = Some(self.payonce.proxy);
        self.payonce = Payonce::start(self.sandbox.addr(), self.dir.path(), at).await;
    }

    /// Stops payonce in order, and searches all that it said, shows and stores for secrets: the API
    /// key, the last idempotency keys that reached the sandbox, a card, and what the test adds.
    pub(crate) async fn end(mut self, more_secrets: &[&str]) -> String {
        let requests = self.sandbox.requests().into_iter().rev();
        let keys: Vec<String> = requests.filter_map(|seen| seen.key).take(KEYS).collect();
        let metrics = get(self.payonce.health, "/metrics").await;
        assert!(metrics.contains("payonce_operations"), "{metrics}");
        let mut shown = self.payonce.ops(&["list", "--json"]).await;
        if let Some(key) = keys.first() {
            shown.push_str(&self.payonce.ops(&["show", "--key", key]).await);
        }
        let said = format!("{}{}", self.said_before, self.payonce.stop().await);
        let secrets = keys.iter().map(String::as_str).chain(more_secrets.iter().copied());
        for secret in secrets.chain([API_KEY, CARD, ADMIN_TOKEN, "sk_test_"]) {
            for (place, text) in [("log", &said), ("metrics", &metrics), ("ops", &shown)] {
                assert!(!text.contains(secret), "{secret} stands in {place}:\n{text}");
            }
        }
        let store = std::fs::read(self.dir.path().join("payonce.redb")).unwrap();
        for secret in [API_KEY, CARD, ADMIN_TOKEN, "A very private description"] {
            let found = store.windows(secret.len()).any(|bytes| bytes == secret.as_bytes());
            assert!(!found, "{secret} stands in the store");
        }
        self.sandbox.shutdown().await;
        said
    }
}

/// A `payonce serve` process.
pub(crate) struct Payonce {
    child: Child,
    pub(crate) proxy: SocketAddr,
    health: SocketAddr,
    admin: SocketAddr,
    said: Arc<Mutex<String>>,
    reading: JoinHandle<()>,
}

impl Payonce {
    async fn start(stripe: SocketAddr, dir: &Path, proxy: Option<SocketAddr>) -> Self {
        let (any, stripe) = ("127.0.0.1:0".to_owned(), format!("http://{stripe}"));
        let proxy = proxy.map_or_else(|| any.clone(), |at| at.to_string());
        let mut child = Command::new(env!("CARGO_BIN_EXE_payonce"))
            .arg("serve")
            .current_dir(dir)
            .env_clear()
            .env("PAYONCE_LISTEN__PROXY", proxy)
            .env("PAYONCE_LISTEN__ADMIN", &any)
            .env("PAYONCE_LISTEN__HEALTH", &any)
            .env("PAYONCE_ADMIN__TOKEN", ADMIN_TOKEN)
            .env("PAYONCE_UPSTREAM__API", &stripe)
            .env("PAYONCE_UPSTREAM__FILES", &stripe)
            .env("PAYONCE_UPSTREAM__CONNECT", &stripe)
            .env("PAYONCE_UPSTREAM__METER_EVENTS", &stripe)
            .env("PAYONCE_UPSTREAM__PROVIDER_HOST", "api.stripe.com")
            .env("PAYONCE_STORE__PATH", dir.join("payonce.redb"))
            .env("PAYONCE_STORE__SINGLE_INSTANCE", "true")
            // Retries as in earnest, but sooner: what is tried here fails often.
            .env("PAYONCE_RETRY__BACKOFF", "10ms")
            .env("PAYONCE_RETRY__BACKOFF_MAX", "40ms")
            .env("PAYONCE_RETRY__ATTEMPT_TIMEOUT", "600ms")
            .env("PAYONCE_UPSTREAM__CONNECT_TIMEOUT", "600ms")
            .env("PAYONCE_RETRY__BUDGET_PER_SECOND", "1000")
            .env("PAYONCE_LOG__FORMAT", "json")
            .env("PAYONCE_LOG__LEVEL", "trace")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let heard = Arc::clone(&said);
        let reading = tokio::task::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mut said = heard.lock().unwrap();
                said.push_str(&line);
                said.push('\n');
            }
        });
        until("payonce starts", || {
            assert!(!reading.is_finished(), "payonce ended: {}", said.lock().unwrap());
            said.lock().unwrap().contains("policy is in force")
        })
        .await;
        let events = said.lock().unwrap().clone();
        let address = |message| {
            let event = events.lines().find(|line| line.contains(message)).unwrap();
            let event: Value = serde_json::from_str(event).unwrap();
            event["address"].as_str().unwrap().parse().unwrap()
        };
        let (proxy, admin) = (address("proxy listens"), address("admin listens"));
        Self { child, proxy, health: address("health and metrics listen"), admin, said, reading }
    }

    /// What `payonce ops` prints, on both streams.
    async fn ops(&self, args: &[&str]) -> String {
        self.prints(&[&["ops"], args].concat()).await
    }

    /// What a command prints that asks this payonce, on both streams.
    pub(crate) async fn prints(&self, args: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_payonce"))
            .args(args)
            .env_clear()
            .env("PAYONCE_LISTEN__ADMIN", self.admin.to_string())
            .env("PAYONCE_ADMIN__TOKEN", ADMIN_TOKEN)
            .output();
        let output = tokio::time::timeout(PATIENCE, output).await.unwrap().unwrap();
        let (out, err) = (output.stdout, output.stderr);
        format!("{}{}", String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    /// SIGTERM; payonce must end by itself, with nothing left.
    async fn stop(&mut self) -> String {
        let kill = format!("kill -TERM {}", self.child.id().unwrap());
        assert!(Command::new("sh").args(["-c", &kill]).status().await.unwrap().success());
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        let said = self.all_said().await;
        assert!(status.success(), "payonce ended with {status}:\n{said}");
        said
    }

    async fn all_said(&mut self) -> String {
        tokio::time::timeout(PATIENCE, &mut self.reading).await.unwrap().unwrap();
        self.said.lock().unwrap().clone()
    }
}

/// Waits for a condition, and looks often.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let wait = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited for: {what}"));
}

async fn get(at: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: payonce\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
    answer
}
