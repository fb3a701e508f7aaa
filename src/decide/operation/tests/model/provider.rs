//! The provider as FACTS §2 describes it, with requests that run, and some that arrive late.

use super::state::{Answer, Done, Saved, Sent, State};
use super::{Model, Outcome};

/// What the provider does with a key that it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Succeed,
    /// A 402: saved.
    DeclineCard,
    /// A 400 of validation: not saved.
    DeclineRequest,
    /// A 500 that is saved.
    Fail {
        effect: bool,
    },
    /// A 500 before execution began: not saved.
    FailEarly,
}

const REMEMBERS: u64 = 24 * 3_600_000;

impl Model {
    /// A request reaches the provider; an answer, unless it is executed now.
    pub(super) fn arrive(&self, state: &mut State, sent: Sent) -> Result<Option<Answer>, String> {
        let now = state.now;
        let provider = &mut state.provider;
        provider.saved.retain(|saved| now - saved.at < REMEMBERS);
        let read = |status, conflict, replayed, effect| {
            Some(Answer::Read { status, conflict, replayed, effect })
        };
        if provider.running.iter().any(|running| running.key == sent.key) {
            self.note("the provider says that the key is in use");
            return Ok(read(409, true, false, None));
        }
        if let Some(saved) = provider.saved.iter().find(|saved| saved.key == sent.key) {
            if saved.content != sent.content {
                self.note("the provider says idempotency_error");
                if !state.blind {
                    return Err("I4: a key was sent with two contents".to_owned());
                }
                return Ok(read(400, true, false, None));
            }
            self.note(&format!("the provider replays its {}", saved.status));
            return Ok(read(saved.status, false, true, saved.effect));
        }
        if provider.first_seen.iter().all(|(key, _at)| *key != sent.key) {
            provider.first_seen.push((sent.key, now));
            provider.first_seen.sort_unstable();
        }
        self.note(&format!(
            "the provider begins to execute {}",
            self.desk.key_of(sent.key).as_str()
        ));
        provider.running.push(sent);
        provider.running.sort_unstable_by_key(|sent| (sent.key, sent.from, sent.caller));
        Ok(None)
    }

    /// What runs comes to its end.
    pub(super) fn finish_running(&self, state: &mut State, number: usize, mood: Mood) -> Outcome {
        let sent = state.provider.running.remove(number);
        let (status, saves, effect) = match mood {
            Mood::Succeed => (200, true, true),
            Mood::DeclineCard => (402, true, false),
            Mood::DeclineRequest => (400, false, false),
            Mood::Fail { effect } => (500, true, effect),
            Mood::FailEarly => (500, false, false),
        };
        let now = state.now;
        let provider = &mut state.provider;
        let effect = effect.then(|| {
            provider.effects.push(Done { key: sent.key, caller: sent.caller, at: now });
            provider.effects.len() - 1
        });
        if saves {
            let Sent { key, content, .. } = sent;
            provider.saved.push(Saved { key, content, status, effect, at: now });
            provider.saved.sort_unstable_by_key(|saved| saved.key);
        }
        self.note(&format!("{status} for {}", self.desk.key_of(sent.key).as_str()));
        self.check_once(state)?;
        match sent.from {
            Some(proxy) => {
                let answer = Answer::Read { status, conflict: false, replayed: false, effect };
                self.answered(state, proxy, answer)
            }
            None => Ok(()),
        }
    }

    /// A delayed request arrives, after all; nobody waits for its answer.
    pub(super) fn late(&self, state: &mut State, number: usize) -> Outcome {
        let sent = state.provider.delayed.remove(number);
        let saved = state.provider.saved.iter().any(|saved| saved.key == sent.key);
        if saved {
            return Ok(());
        }
        self.arrive(state, sent).map(|_answer| ())
    }
}
