//! For unit tests: a state, a time and a shorthand for calls.

use std::time::Duration;

use http::{Method, Request};
use serde_json::Value;

use crate::clock::Timestamp;

use super::answer::Answer;
use super::call::Call;
use super::effects::Effect;
use super::state::State;
use super::{Limits, Rules};

/// A call under construction.
#[derive(Clone)]
pub(crate) struct Ask {
    method: Method,
    path: String,
    body: String,
    headers: Vec<(&'static str, String)>,
}

/// A POST with a form.
pub(crate) fn post(path: &str, body: &str) -> Ask {
    Ask { method: Method::POST, path: path.to_owned(), body: body.to_owned(), headers: Vec::new() }
}

/// A GET.
pub(crate) fn get(path: &str) -> Ask {
    Ask { method: Method::GET, ..post(path, "") }
}

/// A DELETE.
pub(crate) fn delete(path: &str) -> Ask {
    Ask { method: Method::DELETE, ..post(path, "") }
}

impl Ask {
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.with("idempotency-key", key)
    }

    pub(crate) fn json(self) -> Self {
        self.with("content-type", "application/json")
    }

    pub(crate) fn call(&self) -> Call {
        let mut request = Request::builder().method(&self.method).uri(&self.path);
        if !self.headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", "Bearer sk_test_shop");
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        Call::read(&head, self.body.as_bytes()).unwrap()
    }
}

/// A state at a time.
pub(crate) struct Desk {
    pub(crate) state: State,
    pub(crate) now: Timestamp,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self::limited(Limits::default())
    }

    pub(crate) fn limited(limits: Limits) -> Self {
        let now = Timestamp::from_millis(1_800_000_000_000);
        Self { state: State::new(1, limits, Rules::default()), now }
    }

    pub(crate) fn later(&mut self, by: Duration) {
        self.now = self.now.plus(by);
    }

    pub(crate) fn ask(&mut self, ask: &Ask) -> Answer {
        self.state.execute(&ask.call(), self.now)
    }

    /// A call that must succeed: its body.
    pub(crate) fn done(&mut self, ask: &Ask) -> Value {
        let answer = self.ask(ask);
        let body = body(&answer);
        assert_eq!(answer.status, 200, "{} {}: {body}", ask.method, ask.path);
        body
    }

    /// A call that must fail: its status and the error's code (else type).
    pub(crate) fn fails(&mut self, ask: &Ask) -> (u16, String) {
        let answer = self.ask(ask);
        let error = body(&answer)["error"].clone();
        let code = error["code"].as_str().or(error["type"].as_str()).unwrap_or_default();
        (answer.status, code.to_owned())
    }

    pub(crate) fn last(&self) -> &Effect {
        self.state.effects().last().unwrap()
    }

    /// The id of something just made.
    pub(crate) fn made(&mut self, path: &str, body: &str) -> String {
        self.done(&post(path, body))["id"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn body(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}
