//! `payonce explain`: how a request would be judged, and why. Nothing is sent to Stripe.
//!
//! What decides here is what decides in `serve`: the head's checks, the policy, the canonical form,
//! the identity and the keys are the same code. Only the words are this room's. Fields and header
//! fields are shown by name and length alone, for they hold API keys and card numbers.
//!
//! [`asked`] is where requests come from; this module judges them; [`text`] and [`json`] tell what
//! came of it; [`now`] asks a running payonce what would happen at this moment.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use zeroize::Zeroizing;

use super::{Exit, Explain, complain};
use crate::assembly;
use crate::clock::{Clock, Timestamp};
use crate::decide::digest::Secret;
use crate::decide::identity::Identified;
use crate::decide::path::{Api, Target};
use crate::decide::policy::near::{Near, near};
use crate::decide::policy::{Action, Class, Mode, Policy, Rule, Way};
use crate::exchange::{
    By, Config, Credentials, Other, OtherWays, Reading, api_key, found_in, other_identities,
    remembered,
};
use crate::policy_file;
use crate::refusal::Refusal;
use crate::request::Head;
use crate::settings::{Settings, StoreKind};

mod asked;
mod curl;
mod har;
mod json;
mod judged;
mod now;
mod text;
mod words;

use asked::{All, Asked};
use now::Now;

/// Stands in for the API key that was not given. It is nobody's.
const PLACEHOLDER: HeaderValue = HeaderValue::from_static("Bearer sk_test_placeholder");

/// Rules that came near and are named.
const NEAREST: usize = 4;

/// Says on `out` how what `args` names would be judged; on standard error what is wrong with the
/// policy or the command.
pub async fn run(args: &Explain, settings: &Settings, out: &mut impl Write) -> Exit {
    let path = args.policy.as_deref().or(settings.policy.path.as_deref());
    let policy = match path {
        Some(path) => policy_file::read(path),
        None => {
            policy_file::parse(Path::new("(the shipped policy)"), policy_file::SHIPPED.as_bytes())
        }
    };
    let policy = match policy {
        Ok(policy) => policy,
        Err(problems) => {
            complain(&problems);
            return Exit::Configuration;
        }
    };
    let all = match asked::all(args) {
        Ok(all) => all,
        Err(bad) => {
            complain(&bad);
            return bad.exit();
        }
    };
    let file = path.map_or_else(|| "the shipped policy".to_owned(), |it| it.display().to_string());
    let serves = args.settings.is_some();
    let now = Clock::System.now();
    let config = assembly::exchange_config(settings);
    let mut question =
        Question { settings, policy: &policy, file, serves, config, ways: Vec::new(), now };
    let (answer, exit) = Box::pin(question.answer(&all, args.ask, args.json)).await;
    match out.write_all(answer.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => exit,
        // A pipe that its reader closed is no failure worth words.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => exit,
        Err(error) => {
            complain(&error);
            Exit::Failed
        }
    }
}

/// By what requests are judged.
struct Question<'a> {
    settings: &'a Settings,
    policy: &'a Policy,
    /// Where the policy stands, for people.
    file: String,
    /// The settings are those of a payonce that is meant to serve.
    serves: bool,
    config: Config,
    /// How else operations are recognised on the store, as far as it was asked.
    ways: Vec<Arc<Way>>,
    now: Timestamp,
}

/// What became of one request.
struct Told<'a> {
    asked: &'a Asked,
    /// What applies to it; nothing does if the request itself is refused.
    ruled: Result<Ruled<'a>, Refusal>,
}

/// A request, and what the policy makes of it.
struct Ruled<'a> {
    head: Head,
    rule: &'a Rule,
    near: Near<'a>,
    /// What else changes the picture.
    notes: Vec<String>,
    end: End,
}

/// What a request comes to.
enum End {
    /// It passes.
    Passed,
    /// The policy refuses it.
    ByPolicy(Refusal),
    /// It is itself refused, whatever the policy.
    Bad(Refusal),
    /// It is critical.
    Critical(Box<Critical>),
}

/// What is made of a critical request.
struct Critical {
    reading: Reading,
    secret: Secret,
    /// No API key was given.
    placeholder: bool,
    /// The secret stands in the settings, and is not made of the API key.
    configured: bool,
    identified: Result<Identified, Refusal>,
    /// What it is under other policies and secrets.
    others: Vec<Other>,
    /// What a running payonce says, if it was asked.
    now: Option<Now>,
}

impl Told<'_> {
    /// [`Exit::Failed`] if the request itself is refused, whatever the policy.
    const fn exit(&self) -> Exit {
        match &self.ruled {
            Err(_) | Ok(Ruled { end: End::Bad(_), .. }) => Exit::Failed,
            Ok(Ruled { end: End::Passed | End::ByPolicy(_) | End::Critical(_), .. }) => Exit::Done,
        }
    }
}

impl<'a> Question<'a> {
    /// What is told of all requests, and the exit of the one that came off worst.
    async fn answer(&mut self, all: &'a All, ask: bool, as_json: bool) -> (String, Exit) {
        let mut told: Vec<Told<'a>> = all.requests.iter().map(|asked| self.judge(asked)).collect();
        if ask {
            self.ask(all, &mut told).await;
        }
        let failed = told.iter().any(|told| told.exit() == Exit::Failed);
        let exit = if failed { Exit::Failed } else { Exit::Done };
        let answer = if as_json { json::of(self, all, &told) } else { text::of(self, all, &told) };
        (answer, exit)
    }

    /// Asks the running payonce; judges anew where it recognises operations otherwise than settings
    /// and policy alone say: by another provider (`serve --sandbox`), or also by former policies.
    async fn ask(&mut self, all: &'a All, told: &mut Vec<Told<'a>>) {
        let running = match now::Running::find(self.settings).await {
            Ok(running) => running,
            Err(failure) => return now::unknown(told, &failure.to_string()),
        };
        self.config.provider.clone_from(&running.provider);
        self.ways = running.ways();
        *told = all.requests.iter().map(|asked| self.judge(asked)).collect();
        running.ask(told).await;
    }

    fn judge(&self, asked: &'a Asked) -> Told<'a> {
        Told { asked, ruled: head(asked).map(|head| self.ruled(asked, head)) }
    }

    fn ruled(&self, asked: &Asked, mut head: Head) -> Ruled<'a> {
        let policy: &'a Policy = self.policy;
        let rule = policy.judge(&head.method, &head.target);
        let segments: Vec<&str> = head.target.segments().iter().map(String::as_str).collect();
        let near = near(policy, &head.method, &segments, NEAREST);
        let mut notes = asked.notes.clone();
        self.notes(&mut notes, rule, asked.body.len());
        self.credential(&mut notes, &mut head);
        self.guards(&mut notes, &head);
        let end = match rule.class {
            Class::Refuse => End::ByPolicy(Refusal::ByPolicy { rule: rule.name.clone() }),
            Class::Pass => End::Passed,
            Class::Critical => match self.critical(&mut head, rule, &asked.body) {
                Ok(critical) => End::Critical(Box::new(critical)),
                Err(refusal) => End::Bad(refusal),
            },
        };
        Ruled { head, rule, near, notes, end }
    }

    fn critical(&self, head: &mut Head, rule: &Rule, body: &[u8]) -> Result<Critical, Refusal> {
        let placeholder = !head.headers.contains_key(AUTHORIZATION);
        if placeholder {
            head.headers.insert(AUTHORIZATION, PLACEHOLDER);
        }
        // There is an `Authorization` by now, so that there are credentials.
        let credentials = Credentials::of(&head.headers).ok_or(Refusal::Internal)?;
        let reading = Reading::of(head, body, self.policy)?;
        let config = &self.config;
        let secret = credentials.secret(config);
        let identified = self.identified(head, &credentials, &secret, &reading, rule);
        let others = identified.as_ref().map_or_else(
            |_refusal| Vec::new(),
            |today| self.others(head, &credentials, &reading, rule, today),
        );
        let configured = config.secret.is_some();
        Ok(Critical { reading, secret, placeholder, configured, identified, others, now: None })
    }

    /// What the policy refuses is explained as well as what it takes.
    fn identified(
        &self,
        head: &Head,
        credentials: &Credentials,
        secret: &Secret,
        reading: &Reading,
        rule: &Rule,
    ) -> Result<Identified, Refusal> {
        // No call is made, so that nothing hangs on what would tell it from others.
        let nonce = [0; 16];
        // Whether a shared store has forgotten shows only while payonce runs.
        let never_forgets = self.settings.store.kind != StoreKind::Memory;
        let by = By {
            secret,
            scope: credentials.scope(self.policy.scopes()),
            uuid4_keys: self.policy.uuid4_keys(),
            rule,
        };
        let identified = reading.recognise(&self.config, head, credentials, &by, nonce)?;
        remembered(&identified, head.target.api(), never_forgets)?;
        Ok(identified)
    }

    /// What the policy's guards find. Where no API key was given, nobody asks what kind it is.
    fn guards(&self, notes: &mut Vec<String>, head: &Head) {
        let given = head.headers.get(AUTHORIZATION).map(|value| api_key(value.as_bytes()));
        for (finding, action) in found_in(head, self.policy) {
            let does = match action {
                Action::Refuse if self.policy.mode() == Mode::Enforce => "refuses it",
                Action::Off | Action::Warn | Action::Refuse => "warns of it",
            };
            if given.is_some() || !finding.is_about_api_key() {
                notes.push(format!("a guard {does}: {finding}"));
            }
        }
    }

    /// Puts the API key that payonce holds in the placeholder's place: guards, ids and keys go by it.
    fn credential(&self, notes: &mut Vec<String>, head: &mut Head) {
        let credential = &self.settings.credential;
        let Some(given) = head.headers.get(AUTHORIZATION).map(|it| api_key(it.as_bytes())) else {
            return;
        };
        if *given != credential.placeholder.as_bytes() {
            if credential.only {
                notes.push(
                    "credential.only is on, and this API key is not the placeholder: 403 \
                     payonce_foreign_api_key"
                        .to_owned(),
                );
            }
            return;
        }
        let real = credential.key.as_ref().and_then(|key| {
            HeaderValue::from_bytes(&Zeroizing::new([&b"Bearer "[..], key.expose()].concat())).ok()
        });
        let Some(mut real) = real else {
            notes.push(
                "the API key is payonce's placeholder, and these settings have no credential: 403 \
                 payonce_no_credential"
                    .to_owned(),
            );
            return;
        };
        real.set_sensitive(true);
        head.headers.insert(AUTHORIZATION, real);
        notes.push(
            "the API key is payonce's placeholder: the one that it holds is put in its place, and \
             what follows is for that"
                .to_owned(),
        );
    }

    fn others(
        &self,
        head: &Head,
        credentials: &Credentials,
        reading: &Reading,
        rule: &Rule,
        today: &Identified,
    ) -> Vec<Other> {
        let known = OtherWays { config: &self.config, policy: self.policy, ways: &self.ways };
        other_identities(&known, head, reading, credentials, rule, today).0
    }

    /// What of settings and policy changes the picture.
    fn notes(&self, notes: &mut Vec<String>, rule: &Rule, body: usize) {
        let mut say = |text: &str| notes.push(text.to_owned());
        let critical = rule.class == Class::Critical;
        if self.settings.policy.bypass {
            say("policy.bypass is on: nothing new is protected until it is off again");
        }
        if self.policy.mode_of(rule) == Mode::Observe && critical {
            say("mode = \"observe\": it is forwarded unchanged, and this is what would be done");
        }
        if critical && body > self.settings.limits.body {
            say("the body is over limits.body: a call streams once, without retries; what is \
                 recognised otherwise is answered with 413");
        }
        // Without a settings file nobody means to serve with these settings.
        if self.serves
            && let Err(why) = assembly::acceptable(self.settings)(self.policy)
        {
            say(&format!("`payonce serve` does not start with these settings: {why}"));
        }
    }
}

/// The request as it would arrive, checked as it would be on arrival.
fn head(asked: &Asked) -> Result<Head, Refusal> {
    let mut request = http::Request::builder().method(&asked.method).uri(&asked.target);
    for field in &asked.headers {
        request = request.header(&field.name, &field.value);
    }
    let Ok(request) = request.body(()) else {
        // hyper answers such a request before payonce sees it; the path's own check says why.
        return Err(match Target::parse(&asked.target) {
            Err(why) => Refusal::BadTarget(why),
            Ok(_) => Refusal::BadRequest("The request target or a header field is ill-formed"),
        });
    };
    let mut head = Head::check(request.into_parts().0)?;
    if !asked.body.is_empty() && !head.headers.contains_key(CONTENT_TYPE) {
        let json = head.target.api() == Api::V2 && asked.body.starts_with(b"{");
        let kind = if json { "application/json" } else { "application/x-www-form-urlencoded" };
        head.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    Ok(head)
}

#[cfg(test)]
mod tests;
