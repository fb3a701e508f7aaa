//! payonce processes that keep their port while they are killed, stopped, drained and started again.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use payonce::clock::Clock;
use tempfile::TempDir;

use super::secrets::SECRET;
use super::shop::TICK;
use super::stories::{EDITED, POLICY};
use crate::port::Port;
use crate::running::{LONG, Running, TOKEN, ask, get, write};

/// Shorter than people would set, so that a run is dense. The budget is for real outages.
const SETTINGS: [(&str, &str); 13] = [
    ("PAYONCE_STORE__LEASE", "1s"),
    ("PAYONCE_STORE__SINGLE_INSTANCE", "true"),
    ("PAYONCE_RETRY__DEADLINE", "6s"),
    ("PAYONCE_RETRY__ATTEMPT_TIMEOUT", "900ms"),
    ("PAYONCE_RETRY__BACKOFF", "20ms"),
    ("PAYONCE_RETRY__BACKOFF_MAX", "200ms"),
    ("PAYONCE_RETRY__BUDGET_PER_SECOND", "1000"),
    ("PAYONCE_UPSTREAM__CONNECT_TIMEOUT", "500ms"),
    ("PAYONCE_SHUTDOWN__DRAIN", "8s"),
    ("PAYONCE_LOG__LEVEL", "debug"),
    ("PAYONCE_POLICY__REFRESH", "1s"),
    ("PAYONCE_STORE__TIMEOUT", "400ms"),
    ("PAYONCE_SECRET__VALUE", SECRET),
];

/// How long a claim holds, as the settings say.
pub(crate) const LEASE: Duration = Duration::from_secs(1);

/// Operations that people look at one by one, at most.
const MOST_SHOWN: usize = 100;

/// All processes of one run.
pub(crate) struct Pods {
    all: Vec<Mutex<Pod>>,
    bases: Vec<SocketAddr>,
    directory: Arc<TempDir>,
}

struct Pod {
    port: Port,
    directory: Arc<TempDir>,
    env: Vec<(String, String)>,
    running: Option<Running>,
    /// All that earlier processes said.
    said: Vec<String>,
}

impl Pods {
    /// `count` processes before `api`; `env` says which store they share.
    pub(crate) fn start(count: usize, api: SocketAddr, env: &[(&str, String)]) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let policy = write(directory.path(), "policy.toml", POLICY);
        let pods: Vec<_> = (0..count).map(|_| Pod::new(api, &policy, env)).collect();
        let bases = pods.iter().map(|pod| pod.port.addr()).collect();
        let pods = pods.into_iter().map(Mutex::new).collect();
        Self { all: pods, bases, directory }
    }

    /// Where they listen.
    pub(crate) fn bases(&self) -> &[SocketAddr] {
        &self.bases
    }

    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// SIGKILL; the next process begins after `pause`.
    pub(crate) fn kill(&self, which: usize, pause: Duration) {
        let mut pod = self.all[which].lock().unwrap();
        pod.end("KILL", None);
        std::thread::sleep(pause);
        pod.start();
    }

    /// A rolling restart: each drains on SIGTERM and ends in order, and the next begins.
    pub(crate) fn roll(&self) {
        for pod in &self.all {
            let mut pod = pod.lock().unwrap();
            pod.end("TERM", Some(0));
            pod.start();
        }
    }

    /// SIGSTOP for so long.
    pub(crate) fn freeze(&self, which: usize, time: Duration) {
        let pod = self.all[which].lock().unwrap();
        pod.running().signal("STOP");
        std::thread::sleep(time);
        pod.running().signal("CONT");
    }

    /// The policy is edited: a rule that nobody needs comes or goes, a window changes, and one rule
    /// recognises and merges what it is for in another way.
    pub(crate) fn edit_policy(&self, n: u64) {
        let window = format!("\"{}ms\"", 1_500 + n % 7 * 100);
        let rule = "\n[[rule]]\nname = \"previews\"\nmatch = [\"POST /v1/invoices/create_preview\"]\nclass = \"pass\"\n";
        let rule = if n.is_multiple_of(2) { rule } else { "" };
        let edited = match n % 4 {
            0 => &EDITED.replace("\"lost\"", "\"twins\"\nrepeat_window = \"1s\""),
            1 => {
                &EDITED.replace("\"content\"", "[\"metadata[order_id]\"]\notherwise = \"content\"")
            }
            2 => "identity = \"call\"",
            _ => EDITED,
        };
        assert!(POLICY.contains(EDITED) && POLICY.contains("\"2s\""));
        let text = POLICY.replace("\"2s\"", &window).replace(EDITED, edited);
        // As editors and ConfigMaps do: a new file in place of the old.
        let new = write(self.directory.path(), "policy.toml.new", &(text + rule));
        std::fs::rename(new, self.directory.path().join("policy.toml")).unwrap();
    }

    /// Ends all in order. `keys` are looked up before, by people.
    pub(crate) fn stop(self, keys: &[String]) -> Seen {
        let mut seen = Seen::default();
        for pod in self.all {
            let mut pod = pod.into_inner().unwrap();
            seen.metrics.push_str(&get(pod.running().health(), "/metrics").body);
            seen.admin.push_str(&shown(pod.running().admin(), keys));
            pod.end("TERM", Some(0));
            seen.log.push_str(&pod.said.join("\n"));
        }
        seen
    }
}

/// What people can see of payonce.
#[derive(Default)]
pub(crate) struct Seen {
    /// What all processes said.
    pub(crate) log: String,
    pub(crate) metrics: String,
    /// What the admin port answered: the list, each operation on it, and look-ups by key.
    pub(crate) admin: String,
}

fn shown(admin: SocketAddr, keys: &[String]) -> String {
    let bearer = format!("Bearer {TOKEN}");
    let ask = |line: &str, body: &str| {
        let fields = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let stream = std::net::TcpStream::connect(admin).unwrap();
        ask(stream, line, &fields, body)
    };
    // After its failures the store is not asked for a while.
    let mut list = ask("GET /ops?limit=1000", "");
    let end = Clock::System.now().plus(LONG);
    while list.status != 200 {
        assert!(Clock::System.now() < end, "{}", list.body);
        std::thread::sleep(TICK);
        list = ask("GET /ops?limit=1000", "");
    }
    let json = list.json();
    let ids = json["operations"].as_array().unwrap().iter().take(MOST_SHOWN);
    let ids = ids.map(|one| one["operation_id"].as_str().unwrap());
    let mut all: Vec<String> = ids.map(|id| ask(&format!("GET /ops/{id}"), "").body).collect();
    all.extend(
        keys.iter().map(|key| {
            ask("POST /ops/lookup", &serde_json::json!({ "key": key }).to_string()).body
        }),
    );
    format!("{}\n{}\n", list.body, all.join("\n"))
}

impl Pod {
    fn new(api: SocketAddr, policy: &Path, env: &[(&str, String)]) -> Self {
        let port = Port::free();
        let mut all: Vec<(String, String)> = SETTINGS
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        all.extend(env.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        all.push(("PAYONCE_LISTEN__PROXY".to_owned(), port.addr().to_string()));
        all.push(("PAYONCE_UPSTREAM__API".to_owned(), format!("http://{api}")));
        all.push(("PAYONCE_POLICY__PATH".to_owned(), policy.display().to_string()));
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let mut pod = Self { port, directory, env: all, running: None, said: Vec::new() };
        pod.start();
        pod
    }

    fn start(&mut self) {
        let env: Vec<(&str, &str)> =
            self.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.running = Some(Running::serve_in(Arc::clone(&self.directory), &[], &env));
    }

    fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    fn end(&mut self, signal: &str, code: Option<i32>) {
        let running = self.running.take().unwrap();
        running.signal(signal);
        let (ended, mut said) = running.ended();
        assert!(code.is_none() || ended == code, "it ended with {ended:?}:\n{}", said.join("\n"));
        self.said.append(&mut said);
    }
}
