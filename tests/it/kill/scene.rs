//! One application, one provider, one store, and payonce processes that die.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use payonce::clock::Clock;
use payonce::sandbox::{self, Effect, Fault, Kind, Outcome, Sandbox};
use payonce::seams::Point;
use serde_json::Value;
use tempfile::TempDir;

use super::{Again, Play, Script, Store, Way};
use crate::running::{self, Running};

/// How often the application asks for one answer before it counts as locked out.
const PATIENCE: u32 = 6;

const DECLINED: &str = "amount=700&currency=usd&source=tok_chargeDeclined";

pub(super) struct Scene {
    play: Play,
    sandbox: Sandbox,
    directory: Arc<TempDir>,
    settings: Vec<(&'static str, String)>,
    /// Of the armed process, then of those after it none.
    seam: Option<(&'static str, String)>,
    child: Option<Running>,
    customer: String,
}

/// What the application wants once.
struct Want<'a> {
    n: u32,
    intent: &'a str,
    operation: &'a str,
    body: &'a str,
}

struct Answer {
    status: u16,
    body: Value,
}

impl Scene {
    pub(super) fn new(store: Store, play: Play) -> Self {
        let sandbox = Sandbox::start(sandbox::Config::local(Clock::System, 7)).unwrap();
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let origin = format!("http://{}", sandbox.addr());
        let (identity, more) = match play.way {
            Way::Call => ("\"call\"", ""),
            Way::Fields => ("[\"metadata[order]\"]", "otherwise = \"refuse\"\n"),
            Way::Content | Way::Header | Way::OwnKey => {
                ("\"content\"", "distinguishes = [\"customer\", \"source\"]\n")
            }
        };
        let policy = format!(
            "version = 1\n[[rule]]\nname = \"charges\"\nmatch = [\"POST /v1/charges\"]\n\
             class = \"critical\"\nidentity = {identity}\n{more}"
        );
        let path = running::write(directory.path(), "policy.toml", &policy);
        let mut settings = (store.settings)(directory.path());
        settings.push(("PAYONCE_STORE__SINGLE_INSTANCE", "true".to_owned()));
        settings.push(("PAYONCE_UPSTREAM__API", origin));
        settings.push(("PAYONCE_POLICY__PATH", path.display().to_string()));
        let made = running::post(sandbox.addr(), "/v1/customers", &[], "source=tok_visa");
        let customer = made.json()["id"].as_str().unwrap().to_owned();
        Self { play, sandbox, directory, settings, seam: None, child: None, customer }
    }

    /// Plays without a death: the points that are passed, in order.
    pub(super) fn trace(mut self) -> Vec<Point> {
        self.seam = Some(("PAYONCE_SEAM_TRACE", "1".to_owned()));
        self.play();
        let child = self.child.take().unwrap();
        child.signal("TERM");
        let (code, lines) = child.ended();
        assert_eq!(code, Some(0), "{lines:#?}");
        let names = lines.iter().filter_map(|line| line.strip_prefix("seam "));
        names.map(|name| Point::of_name(name).unwrap()).collect()
    }

    /// Plays with a death on the `n`-th passing of `point`.
    pub(super) fn die_at(mut self, point: Point, n: u32) {
        self.seam = Some(("PAYONCE_SEAM_KILL", format!("{}:{n}", point.as_str())));
        self.play();
        if self.seam.is_some() {
            self.bury();
        }
        let body = format!("amount=900&currency=usd&customer={}", self.customer);
        let want = Want { n: 9, intent: "next", operation: "order-9", body: &body };
        self.bought(&want);
    }

    fn play(&mut self) {
        let customer = self.customer.clone();
        let good = format!("amount=500&currency=usd&customer={customer}");
        let first = Want { n: 1, intent: "first", operation: "order-1", body: &good };
        match self.play.script {
            Script::Success => {}
            Script::AnswerLost => self.fault(Kind::ResetAfterEffect { clean: false }, 1),
            Script::Limited => self.fault(Kind::RateLimited { reason: None }, 4),
            Script::AnotherCard => self.declined("first card", 2, 1),
            Script::Forgotten => {
                let armed = self.seam.take();
                self.declined("long ago", 3, 1);
                let child = self.child.take().unwrap();
                child.signal("TERM");
                assert_eq!(child.ended().0, Some(0));
                std::fs::remove_file(self.directory.path().join("store.redb")).unwrap();
                self.seam = armed;
                // If it dies before it is known that there was another, it gets that one's answer.
                return self.declined("again", 4, 0);
            }
            Script::Reload => {
                let path = self.directory.path().join("policy.toml");
                let policy = std::fs::read_to_string(&path).unwrap() + "# changed\n";
                self.alive();
                std::fs::write(&path, policy).unwrap();
                if !self.alive().says("the new policy is in force") {
                    self.bury();
                }
            }
        }
        self.bought(&first);
    }

    fn fault(&self, kind: Kind, times: u64) {
        self.sandbox.set_faults(vec![Fault::new(kind).times(times)]);
    }

    /// Asks until it has an answer: a success, which happened once.
    fn bought(&mut self, want: &Want<'_>) {
        let answer = self.answer(want);
        let effects = self.effects(want.intent);
        assert_eq!((answer.status, effects.len()), (200, 1), "{}: {effects:?}", answer.body);
        assert_eq!(effects[0].outcome, Outcome::Succeeded);
        assert_eq!(answer.body["id"].as_str(), Some(effects[0].object.as_str()));
    }

    /// Likewise: a decline, which happened once, and at least so often.
    fn declined(&mut self, intent: &str, n: u32, least: usize) {
        let want = Want { n, intent, operation: "order-1", body: DECLINED };
        let answer = self.answer(&want);
        let effects = self.effects(intent);
        assert_eq!(answer.status, 402, "{}", answer.body);
        assert!((least..=1).contains(&effects.len()), "{effects:?}");
        assert!(effects.iter().all(|it| it.outcome == Outcome::Declined), "{effects:?}");
    }

    fn effects(&self, intent: &str) -> Vec<Effect> {
        let effects = self.sandbox.effects().into_iter();
        effects.filter(|effect| effect.intent.as_deref() == Some(intent)).collect()
    }

    fn answer(&mut self, want: &Want<'_>) -> Answer {
        let mut said = Vec::new();
        for again in 0..PATIENCE {
            let key = match (self.play.way, self.play.again) {
                (Way::OwnKey, _) => format!("order-{}", want.n),
                (_, Again::SameKey) => sdk_key(want.n, 0),
                (_, Again::FreshKey) => sdk_key(want.n, again),
            };
            let text = request(want, &key, self.play.way);
            let to = self.alive().proxy();
            match ask(to, &text) {
                Some(answer @ Answer { status: 200 | 402, .. }) => return answer,
                Some(answer) => said.push((answer.status, answer.body)),
                None => self.bury(),
            }
        }
        panic!("{:?} is locked out: {said:#?}", want.intent)
    }

    /// The process that runs, or a new one.
    fn alive(&mut self) -> &Running {
        while self.child.is_none() {
            let env: Vec<_> = self.settings.iter().chain(&self.seam).collect();
            let env: Vec<_> =
                env.into_iter().map(|(name, value)| (*name, value.as_str())).collect();
            let child = Running::start(Arc::clone(&self.directory), &["serve"], &env);
            let serves = child.says("policy is in force");
            self.child = Some(child);
            if !serves {
                self.bury();
            }
        }
        self.child.as_ref().unwrap()
    }

    /// The process died, as it was told to and not otherwise, and only once.
    fn bury(&mut self) {
        let seam = self.seam.take();
        let (code, lines) = self.child.take().unwrap().ended();
        assert!(seam.is_some() && code.is_none(), "{seam:?}, {code:?}: {lines:#?}");
    }
}

/// Keys as stripe-node mints them.
fn sdk_key(n: u32, again: u32) -> String {
    format!("stripe-node-retry-00000000-0000-4000-8000-{n:06}{again:06}")
}

fn request(want: &Want<'_>, key: &str, way: Way) -> String {
    let Want { intent, operation, body, .. } = want;
    let (named, field) = match way {
        Way::Header => (format!("Payonce-Operation: {operation}\r\n"), String::new()),
        Way::Fields => (String::new(), format!("&metadata[order]={operation}")),
        Way::Content | Way::OwnKey | Way::Call => (String::new(), String::new()),
    };
    format!(
        "POST /v1/charges HTTP/1.1\r\nHost: payonce\r\nConnection: close\r\n\
         Authorization: Bearer {}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         User-Agent: Stripe/v1 NodeBindings/23.1.0\r\nSandbox-Intent: {intent}\r\n\
         Idempotency-Key: {key}\r\n{named}Content-Length: {}\r\n\r\n{body}{field}",
        running::API_KEY,
        body.len() + field.len()
    )
}

/// Asks on a connection of its own; `None` if it ended before the whole answer was there.
fn ask(to: SocketAddr, text: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect_timeout(&to, running::LONG).ok()?;
    stream.set_read_timeout(Some(running::LONG)).unwrap();
    stream.write_all(text.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let body = serde_json::from_str(body).ok()?;
    Some(Answer { status: head[9..12].parse().unwrap(), body })
}
