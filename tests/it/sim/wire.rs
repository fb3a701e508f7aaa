//! The way to the provider: the simulated network, and the ears that listen to every send on it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::request::Parts;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use payonce::respond::full;
use payonce::sandbox::{Fault, Kind, Strike, Unplugged};
use payonce::upstream::{Body, BoxError, Cause, Host, NeverSent, SendError, Upstream};

use super::ears::Ears;
use super::sky::Sky;

/// The provider as one pod sees it.
pub(crate) struct Wire {
    pub(crate) sky: Arc<Sky>,
    pub(crate) provider: Unplugged,
    pub(crate) ears: Arc<Mutex<Ears>>,
    /// Which run of which pod sends.
    pub(crate) sender: u64,
    /// Its rules say `finish`.
    pub(crate) finishes: bool,
}

/// The fate of a request that the provider's rate limiter answers: nothing is executed or kept.
pub(crate) const TURNED_AWAY: &str = "provider: 429";

/// What becomes of one request.
#[derive(Clone, Debug)]
enum Fate {
    Fine,
    /// No connection: nothing leaves.
    Unmade,
    /// It leaves, and is lost on its way.
    Lost,
    /// It comes to the provider so late that its sender has given it up.
    Late,
    /// The connection breaks when the answer is on its way.
    Broken,
    /// The answer ends after this share of its body, with an error or without.
    Cut {
        tenths: usize,
        clean: bool,
    },
    /// What the provider itself does.
    Provider(Kind),
}

impl Fate {
    const fn name(&self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Unmade => "wire: no connection",
            Self::Lost => "wire: reset before the effect",
            Self::Late => "wire: request late",
            Self::Broken => "wire: reset after the effect",
            Self::Cut { clean: false, .. } => "wire: answer cut",
            Self::Cut { clean: true, .. } => "wire: answer ends early",
            Self::Provider(Kind::Stall { .. }) => "provider: stall",
            Self::Provider(Kind::InUse) => "provider: 409 in use",
            Self::Provider(Kind::RateLimited { .. }) => TURNED_AWAY,
            Self::Provider(Kind::LockTimeout) => "provider: lock_timeout",
            Self::Provider(Kind::Saved500 { .. }) => "provider: 500 saved",
            Self::Provider(Kind::Unsaved500 { .. }) => "provider: 500 not saved",
            Self::Provider(_) => "provider: 502 to 504",
        }
    }
}

impl Wire {
    fn fate(&self) -> Fate {
        let sky = &self.sky;
        let rate = sky.weather().rates.wire;
        if !sky.chance(rate) {
            return Fate::Fine;
        }
        let effect = *sky.pick(&[Strike::Before, Strike::After]);
        match sky.below(22) {
            0..3 => Fate::Unmade,
            3..5 => Fate::Lost,
            5 => Fate::Late,
            6..10 => Fate::Broken,
            10..12 => Fate::Cut { tenths: sky.below(10), clean: sky.chance(0.5) },
            12..14 => {
                let time = sky.between(100, 200_000);
                sky.send_abroad(time + Duration::from_secs(1));
                let millis = Some(time.as_millis().try_into().unwrap());
                Fate::Provider(Kind::Stall { millis, effect })
            }
            14 => Fate::Provider(Kind::InUse),
            15 => Fate::Provider(Kind::RateLimited { reason: None }),
            16 => Fate::Provider(Kind::LockTimeout),
            17 if sky.chance(0.3) => Fate::Provider(Kind::Saved500 { effect }),
            17 | 18 => Fate::Provider(Kind::Unsaved500 { effect }),
            _ => {
                let code = *sky.pick(&[408, 424, 502, 503, 504]);
                Fate::Provider(Kind::Status { code, effect })
            }
        }
    }

    async fn carry(&self, head: Parts, body: Bytes) -> Result<Response<Body>, SendError> {
        let sky = &self.sky;
        let fate = self.fate();
        sky.sleep(sky.between(2, 40)).await;
        if !matches!(fate, Fate::Fine) {
            sky.struck(fate.name());
        }
        if matches!(fate, Fate::Unmade) {
            sky.note(format_args!("{} no connection", self.sender));
            return Err(SendError::NeverSent(NeverSent::simulated(), Cause::Connect));
        }
        self.ears.lock().unwrap().hear(sky, self.sender, &head, &body, fate.name());
        if matches!(fate, Fate::Provider(Kind::Saved500 { .. })) {
            self.ears.lock().unwrap().held(&head);
        }
        let fault = match &fate {
            Fate::Provider(kind) => Some(Fault::new(kind.clone())),
            _ => None,
        };
        let answer = match fate {
            Fate::Lost => return Err(SendError::Unknown(Cause::Closed)),
            Fate::Late => return self.late(head, body).await,
            _ => self.provider.answer(&head, &body, fault.as_ref()).await,
        };
        sky.sleep(sky.between(20, 400)).await;
        let Some(answer) = answer.filter(|_| !matches!(fate, Fate::Broken)) else {
            return Err(SendError::Unknown(Cause::Closed));
        };
        sky.note(format_args!("{} answered {}", self.sender, answer.status().as_u16()));
        Ok(match fate {
            Fate::Cut { tenths, clean } => cut(answer, tenths, clean),
            _ => whole(answer),
        })
    }

    /// The request comes to the provider when nobody waits for it any more.
    async fn late(&self, head: Parts, body: Bytes) -> Result<Response<Body>, SendError> {
        let (provider, clock) = (self.provider.clone(), self.sky.clock.clone());
        let late = self.sky.between(1_000, 120_000);
        self.sky.send_abroad(late);
        tokio::task::spawn(async move {
            clock.sleep(late).await;
            drop(provider.answer(&head, &body, None).await);
        });
        self.sky.sleep(self.sky.between(1_000, 120_000)).await;
        Err(SendError::Unknown(Cause::Closed))
    }
}

impl Upstream for Wire {
    async fn send(
        &self,
        _host: Host,
        request: Request<Body>,
        within: Duration,
    ) -> Result<Response<Body>, SendError> {
        let (head, body) = request.into_parts();
        self.ears.lock().unwrap().begin(self.sky.now(), self.sender, &head, self.finishes);
        let Ok(body) = body.collect().await else {
            return Err(SendError::NeverSent(NeverSent::simulated(), Cause::RequestBody));
        };
        let sent = self.carry(head, body.to_bytes());
        match self.sky.clock.timeout(within, Box::pin(sent)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(SendError::Unknown(Cause::AnswerTimeout)),
        }
    }
}

fn whole(answer: Response<Bytes>) -> Response<Body> {
    let mut answer = answer.map(|body| (body.len(), full(body)));
    let length = HeaderValue::from(answer.body().0);
    answer.headers_mut().insert(CONTENT_LENGTH, length);
    answer.map(|(_, body)| body)
}

fn cut(answer: Response<Bytes>, tenths: usize, clean: bool) -> Response<Body> {
    let length = HeaderValue::from(answer.body().len());
    let mut answer = answer.map(|body| {
        let kept = body.slice(..body.len() * tenths / 10);
        Body::new(Broken { rest: Some(kept), clean })
    });
    answer.headers_mut().insert(CONTENT_LENGTH, length);
    answer
}

/// A body that ends before its end.
struct Broken {
    rest: Option<Bytes>,
    clean: bool,
}

impl http_body::Body for Broken {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        std::task::Poll::Ready(match self.rest.take() {
            Some(rest) => Some(Ok(Frame::data(rest))),
            None if self.clean => None,
            None => Some(Err("the connection broke".into())),
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// A header field as text.
pub(crate) fn field<'a>(head: &'a Parts, name: &str) -> &'a str {
    head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// A map that is never walked, so that its order decides nothing.
pub(crate) type Map<K, V> = HashMap<K, V>;
