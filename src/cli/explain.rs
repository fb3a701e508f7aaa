//! `payonce explain`: how a request would be judged, and why. Nothing is sent.
//!
//! What decides here is what decides in `serve`: the head's checks, the policy, the canonical form,
//! the identity and the keys are the same code. Only the words are this room's. Fields and header
//! fields are shown by name and length alone, for they hold API keys and card numbers.

use std::io::{self, Write};
use std::path::Path;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};

use super::{Exit, Explain};
use crate::assembly;
use crate::clock::{Clock, Timestamp};
use crate::decide::path::{Api, Target};
use crate::decide::policy::{Class, Mode, Policy, Rule};
use crate::exchange::{By, Config, Credentials, Reading, remembered};
use crate::policy_file;
use crate::refusal::Refusal;
use crate::request::Head;
use crate::settings::{Settings, StoreKind};

mod judged;
mod page;
mod words;

use judged::Judged;
use page::Page;

/// Stands in for the API key that was not given. It is nobody's.
const PLACEHOLDER: HeaderValue = HeaderValue::from_static("Bearer sk_test_placeholder");

/// Says on `out` how the request of `args` would be judged; on standard error what is wrong with
/// the policy.
pub fn run(args: &Explain, settings: &Settings, out: &mut impl Write) -> Exit {
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
            eprintln!("{problems}");
            return Exit::Configuration;
        }
    };
    let file = path.map_or_else(|| "the shipped policy".to_owned(), |it| it.display().to_string());
    let asked = Question { args, settings, policy: &policy, file, now: Clock::System.now() };
    let (page, exit) = asked.answer();
    match out.write_all(page.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => exit,
        // A pipe that its reader closed is no failure worth words.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => exit,
        Err(error) => {
            eprintln!("{error}");
            Exit::Failed
        }
    }
}

/// What is asked, and by what it is judged.
struct Question<'a> {
    args: &'a Explain,
    settings: &'a Settings,
    policy: &'a Policy,
    /// Where the policy stands, for people.
    file: String,
    now: Timestamp,
}

impl Question<'_> {
    /// The page, and [`Exit::Failed`] if the request itself is refused, whatever the policy.
    fn answer(&self) -> (String, Exit) {
        let mut page = Page::default();
        page.title(&format!("{} {}", self.args.request.method, self.args.request.target));
        let exit = match self.explain(&mut page) {
            Ok(()) => Exit::Done,
            Err(refusal) => {
                page.refused(&refusal);
                Exit::Failed
            }
        };
        (page.into_text(), exit)
    }

    fn explain(&self, page: &mut Page) -> Result<(), Refusal> {
        let body = self.args.data.join("&");
        let mut head = self.head(&body)?;
        page.say("matched as", &format!("{} {}", head.method, words::segments(&head.target)));
        let rule = self.policy.judge(&head.method, &head.target);
        page.say("rule", &words::rule(rule, &head, &self.file));
        page.say("class", words::class(rule.class));
        self.notes(page, rule, body.len());
        match rule.class {
            Class::Refuse => {
                page.refused(&Refusal::ByPolicy { rule: rule.name.clone() });
                return Ok(());
            }
            Class::Pass => return Ok(()),
            Class::Critical => {}
        }
        let placeholder = !head.headers.contains_key(AUTHORIZATION);
        if placeholder {
            page.say(
                "API key",
                "none: such a request passes as it is and is not protected. What follows is for a \
                 placeholder; give yours with -H 'Authorization: Bearer …'",
            );
            head.headers.insert(AUTHORIZATION, PLACEHOLDER);
        }
        let Some(credentials) = Credentials::of(&head.headers) else { return Ok(()) };
        let reading = Reading::of(&head, body.as_bytes(), self.policy)?;
        let config = assembly::exchange_config(self.settings);
        let judged = Judged { head: &head, rule, reading: &reading };
        judged.fields(page);
        judged.client_key(page);
        self.operation(page, &judged, &config, &credentials, placeholder);
        Ok(())
    }

    /// From the identity on. What the policy refuses is explained as well as what it takes.
    fn operation(
        &self,
        page: &mut Page,
        judged: &Judged<'_>,
        config: &Config,
        credentials: &Credentials,
        placeholder: bool,
    ) {
        let secret = credentials.secret(config);
        let (reading, head, rule) = (judged.reading, judged.head, judged.rule);
        // No call is made, so that nothing hangs on what would tell it from others.
        let nonce = [0; 16];
        // Whether a shared store has forgotten shows only while payonce runs.
        let never_forgets = self.settings.store.kind != StoreKind::Memory;
        let by = By {
            secret: &secret,
            scope: credentials.scope(self.policy.scopes()),
            uuid4_keys: self.policy.uuid4_keys(),
            rule,
        };
        let recognised = reading.recognise(config, head, credentials, &by, nonce);
        match recognised.and_then(|identified| {
            remembered(&identified, head.target.api(), never_forgets).map(|()| identified)
        }) {
            Err(refusal) => page.refused(&refusal),
            Ok(identified) => {
                judged.identity(page, identified.kind);
                judged.merging(page, &identified);
                let from = judged::Keyed {
                    secret: &secret,
                    configured: config.secret.is_some(),
                    placeholder,
                    now: self.now,
                };
                judged.keys(page, &identified, &from);
                judged.afterwards(page, identified.kind);
            }
        }
    }

    /// The request as it would arrive, checked as it would be on arrival.
    fn head(&self, body: &str) -> Result<Head, Refusal> {
        let line = &self.args.request;
        let mut request = http::Request::builder().method(&line.method).uri(&line.target);
        for field in &self.args.headers {
            request = request.header(&field.name, &field.value);
        }
        let Ok(request) = request.body(()) else {
            // hyper answers such a request before payonce sees it; the path's own check says why.
            return Err(match Target::parse(&line.target) {
                Err(why) => Refusal::BadTarget(why),
                Ok(_) => Refusal::BadRequest("The request target or a header field is ill-formed"),
            });
        };
        let mut head = Head::check(request.into_parts().0)?;
        if !body.is_empty() && !head.headers.contains_key(CONTENT_TYPE) {
            let json = head.target.api() == Api::V2 && body.starts_with('{');
            let kind = if json { "application/json" } else { "application/x-www-form-urlencoded" };
            head.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        Ok(head)
    }

    /// What of settings and policy changes the picture.
    fn notes(&self, page: &mut Page, rule: &Rule, body: usize) {
        if self.settings.policy.bypass {
            page.say("but", "policy.bypass is on: nothing new is protected until it is off again");
        }
        if self.policy.mode() == Mode::Observe && rule.class == Class::Critical {
            page.say(
                "but",
                "mode = \"observe\": it is forwarded unchanged, and this is what would be done",
            );
        }
        if rule.class == Class::Critical && body > self.settings.limits.body {
            page.say(
                "but",
                "the body is over limits.body: a call streams once, without retries; what is \
                 recognised otherwise is answered with 413",
            );
        }
        // Without a settings file nobody means to serve with these settings.
        if self.args.settings.is_some()
            && let Err(why) = assembly::acceptable(self.settings)(self.policy)
        {
            page.say("but", &format!("`payonce serve` does not start with these settings: {why}"));
        }
    }
}

#[cfg(test)]
mod tests;
