//! A body that comes in pieces: a line with its limit, what may be in flight, and `announced` if
//! its length is known; then the pieces, apart by `|`. A piece `~` is a wait, `!` a hang-up, `^`
//! trailers.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use payonce::request::{BodyError, InFlightBytes, buffer};
use payonce::upstream::BoxError;

/// A share of what may be in flight is counted in these.
const UNIT: usize = 1024;

/// A body is read whole, or refused for the right reason; what is too long comes back whole.
pub fn check(input: &[u8]) {
    let mut halves = input.splitn(2, |byte| *byte == b'\n');
    let (first, pieces) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    let first = String::from_utf8_lossy(first);
    let mut words = first.split(' ');
    let mut number = || words.next().and_then(|it| it.parse::<u16>().ok()).map_or(0, usize::from);
    let (limit, room) = (number(), number());
    let steps: Vec<Step> = pieces.split(|byte| *byte == b'|').map(Step::of).collect();
    let announced = words.next() == Some("announced");
    let expected = Expected::of(&steps, limit, room, announced);
    let budget = InFlightBytes::new(room);
    let before = budget.free();
    let body = Pieces { steps: steps.iter().cloned().collect(), announced };
    let read = wait(buffer(body.boxed_unsync(), limit, &budget));
    match (read, expected) {
        (Ok(held), Expected::Whole(bytes)) => {
            assert_eq!(held.bytes(), &bytes);
            assert!(bytes.len() <= limit);
            assert_eq!(before - budget.free(), bytes.len().div_ceil(UNIT) * UNIT);
        }
        (Err(BodyError::TooLarge { limit: told, rest }), Expected::TooLarge) => {
            assert_eq!(told, limit);
            let rest = wait(rest.collect()).ok().map(http_body_util::Collected::to_bytes);
            assert_eq!(rest, whole(&steps), "a body that is too long is not handed on whole");
        }
        (Err(BodyError::Busy), Expected::Busy) | (Err(BodyError::ClientGone), Expected::Gone) => {}
        (read, expected) => panic!("{expected:?}, but {read:?}"),
    }
    assert_eq!(budget.free(), before, "a share is not given back");
}

#[derive(Clone, Debug)]
enum Step {
    Data(Bytes),
    Wait,
    HangUp,
    Trailers,
}

impl Step {
    fn of(piece: &[u8]) -> Self {
        match piece {
            b"~" => Self::Wait,
            b"!" => Self::HangUp,
            b"^" => Self::Trailers,
            data => Self::Data(Bytes::copy_from_slice(data)),
        }
    }
}

#[derive(Debug)]
enum Expected {
    Whole(Bytes),
    TooLarge,
    Busy,
    Gone,
}

impl Expected {
    fn of(steps: &[Step], limit: usize, room: usize, announced: bool) -> Self {
        if announced && length(steps) > limit {
            return Self::TooLarge;
        }
        let mut read = Vec::new();
        for step in steps {
            match step {
                Step::Data(data) => read.extend_from_slice(data),
                Step::HangUp => return Self::Gone,
                Step::Wait | Step::Trailers => {}
            }
            if read.len() > limit {
                return Self::TooLarge;
            }
            if read.len().div_ceil(UNIT) > room.div_ceil(UNIT) {
                return Self::Busy;
            }
        }
        Self::Whole(read.into())
    }
}

/// All of it, unless its sender hung up.
fn whole(steps: &[Step]) -> Option<Bytes> {
    let mut read = Vec::new();
    for step in steps {
        match step {
            Step::Data(data) => read.extend_from_slice(data),
            Step::HangUp => return None,
            Step::Wait | Step::Trailers => {}
        }
    }
    Some(read.into())
}

fn length(steps: &[Step]) -> usize {
    let size = |step: &Step| if let Step::Data(data) = step { data.len() } else { 0 };
    steps.iter().map(size).sum()
}

/// A body that comes as the steps say.
struct Pieces {
    steps: VecDeque<Step>,
    announced: bool,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(match self.steps.pop_front() {
            Some(Step::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Step::HangUp) => Some(Err("gone".into())),
            Some(Step::Trailers) => Some(Ok(Frame::trailers(HeaderMap::new()))),
            Some(Step::Wait) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            None => None,
        })
    }

    fn size_hint(&self) -> SizeHint {
        if !self.announced {
            return SizeHint::default();
        }
        let left: usize = self.steps.iter().map(|step| length(std::slice::from_ref(step))).sum();
        SizeHint::with_exact(u64::try_from(left).unwrap())
    }
}

/// Polls to the end what always wakes itself.
fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}
