//! What one connection has shown so far, and what that says of its answers. Pure.

use tokio::sync::watch;

use super::Delivery;

/// How far an answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Not yet wholly accepted by the kernel.
    Sending,
    /// Wholly accepted; what follows will tell.
    Accepted,
    /// Known.
    Over(Delivery),
}

/// Where the bytes of an answer that is being sent are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// The body has frames left.
    Body,
    /// The last frame is in the write buffer; the next flush sends it.
    Buffered,
    /// Flushed.
    Accepted,
}

#[derive(Debug)]
struct Answer {
    id: u64,
    progress: Progress,
    /// Bytes written on the connection before this answer was handed over.
    written_before: u64,
    stage: watch::Sender<Stage>,
}

/// The answers of one connection that are not decided yet, oldest first.
///
/// One answer is in progress at a time, and answers nobody asks after are dropped, so the list
/// grows past one only for a client that pipelines, by no more than its one buffer of heads holds.
#[derive(Debug, Default)]
pub(super) struct Line {
    answers: Vec<Answer>,
    last_id: u64,
    written: u64,
    over: bool,
}

impl Line {
    pub(super) fn track(&mut self) -> (u64, watch::Receiver<Stage>) {
        self.last_id += 1;
        let first = if self.over { Stage::Over(Delivery::Lost) } else { Stage::Sending };
        let (stage, receiver) = watch::channel(first);
        if !self.over {
            self.answers.retain(|answer| !answer.stage.is_closed());
            self.answers.push(Answer {
                id: self.last_id,
                progress: Progress::Body,
                written_before: self.written,
                stage,
            });
        }
        (self.last_id, receiver)
    }

    /// The body of answer `id` was dropped; `handed_over` if the server had taken it up and it had
    /// not failed.
    pub(super) fn body_dropped(&mut self, id: u64, handed_over: bool) {
        if handed_over {
            for answer in self.answers.iter_mut().filter(|answer| answer.id == id) {
                answer.progress = Progress::Buffered;
            }
        } else {
            self.decide(|answer| (answer.id == id).then_some(Delivery::Lost));
        }
    }

    pub(super) fn wrote(&mut self, bytes: usize) {
        self.written = self.written.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// The write buffer is empty and all of it was accepted.
    pub(super) fn flushed(&mut self) {
        for answer in &mut self.answers {
            // An answer that could not be encoded is dropped like one that was, but leaves no byte.
            if answer.progress == Progress::Buffered && self.written > answer.written_before {
                answer.progress = Progress::Accepted;
                answer.stage.send_replace(Stage::Accepted);
            }
        }
    }

    /// The client sent more.
    pub(super) fn received(&mut self) {
        self.decide(|answer| (answer.progress == Progress::Accepted).then_some(Delivery::Yes));
    }

    /// The client closed its side: whoever has not its whole answer by now will not get it.
    pub(super) fn finished(&mut self) {
        self.decide(|answer| (answer.progress != Progress::Accepted).then_some(Delivery::Lost));
    }

    /// The connection is over. `clean` if the client closed it and no socket error is pending.
    pub(super) fn over(&mut self, clean: bool) {
        self.over = true;
        self.decide(|answer| match answer.progress {
            Progress::Accepted if clean => Some(Delivery::Yes),
            Progress::Accepted | Progress::Buffered | Progress::Body => Some(Delivery::Lost),
        });
    }

    /// Nothing happened for [`super::QUIET`] since the last answer was accepted.
    pub(super) fn quiet(&mut self) {
        self.received();
    }

    /// Whether an accepted answer awaits its verdict.
    pub(super) fn undecided(&self) -> bool {
        self.answers.iter().any(|answer| answer.progress == Progress::Accepted)
    }

    fn decide(&mut self, verdict: impl Fn(&Answer) -> Option<Delivery>) {
        self.answers.retain(|answer| match verdict(answer) {
            Some(delivery) => {
                answer.stage.send_replace(Stage::Over(delivery));
                false
            }
            None => true,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(line: &mut Line) -> watch::Receiver<Stage> {
        let (id, stage) = line.track();
        line.wrote(10);
        line.body_dropped(id, true);
        line.flushed();
        assert_eq!(*stage.borrow(), Stage::Accepted);
        stage
    }

    #[test]
    fn a_flush_before_the_body_ended_accepts_nothing() {
        let mut line = Line::default();
        let (_, stage) = line.track();
        line.wrote(10);
        line.flushed();
        assert_eq!(*stage.borrow(), Stage::Sending);
    }

    #[test]
    fn an_answer_that_left_no_byte_is_not_accepted() {
        let mut line = Line::default();
        line.wrote(10);
        let (id, stage) = line.track();
        line.body_dropped(id, true);
        line.flushed();
        assert_eq!(*stage.borrow(), Stage::Sending);
        line.over(true);
        assert_eq!(*stage.borrow(), Stage::Over(Delivery::Lost));
    }

    #[test]
    fn a_fin_loses_what_is_still_being_sent_and_keeps_what_was_accepted_open() {
        let mut line = Line::default();
        let first = accepted(&mut line);
        let (_, second) = line.track();
        line.finished();
        assert_eq!(*second.borrow(), Stage::Over(Delivery::Lost));
        assert_eq!(*first.borrow(), Stage::Accepted);
        line.over(true);
        assert_eq!(*first.borrow(), Stage::Over(Delivery::Yes));
    }

    #[test]
    fn an_unclean_end_loses_accepted_answers() {
        let mut line = Line::default();
        let stage = accepted(&mut line);
        line.over(false);
        assert_eq!(*stage.borrow(), Stage::Over(Delivery::Lost));
    }

    #[test]
    fn more_bytes_confirm_accepted_answers_only() {
        let mut line = Line::default();
        let first = accepted(&mut line);
        let (_, second) = line.track();
        line.received();
        assert_eq!(*first.borrow(), Stage::Over(Delivery::Yes));
        assert_eq!(*second.borrow(), Stage::Sending);
    }

    #[test]
    fn an_answer_for_a_connection_that_is_gone_is_lost_at_once() {
        let mut line = Line::default();
        line.over(true);
        let (id, stage) = line.track();
        line.body_dropped(id, true);
        assert_eq!(*stage.borrow(), Stage::Over(Delivery::Lost));
    }

    #[test]
    fn an_answer_that_was_dropped_unsent_is_lost_while_the_connection_lives() {
        let mut line = Line::default();
        let (id, stage) = line.track();
        line.body_dropped(id, false);
        assert_eq!(*stage.borrow(), Stage::Over(Delivery::Lost));
    }

    #[test]
    fn answers_nobody_asks_after_are_forgotten() {
        let mut line = Line::default();
        for _ in 0..100 {
            drop(accepted(&mut line));
        }
        assert_eq!(line.answers.len(), 1);
    }
}
