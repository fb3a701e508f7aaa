//! The connection itself: every byte passes here, and every end.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;

use super::Watch;
use crate::clock::Clock;

/// How long a connection that the server has closed waits for the client's last word: a little
/// longer than [`super::QUIET`], so that silence has its verdict first.
const LINGER: Duration = Duration::from_millis(2_100);

/// A client's connection.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

impl Stream {
    /// Whether the kernel holds no error for this connection. Asking takes the error away.
    fn sound(&self) -> bool {
        let pending = match self {
            Self::Tcp(stream) => stream.take_error(),
            Self::Unix(stream) => stream.take_error(),
        };
        matches!(pending, Ok(None))
    }

    /// Whether bytes (or an end) lie here unread.
    fn unread(&self) -> bool {
        let mut byte = [0];
        let read = match self {
            Self::Tcp(stream) => stream.try_read(&mut byte),
            Self::Unix(stream) => stream.try_read(&mut byte),
        };
        !matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// What a connection was last seen to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Open,
    /// The client closed its side.
    Fin,
    /// An error: nothing will follow.
    Broken,
}

/// A connection that tells its [`Watch`] what it sees.
#[derive(Debug)]
pub struct Watched {
    stream: Option<Stream>,
    watch: Watch,
    seen: Seen,
    /// The server closed its own side in order: all it had to say was said.
    shut: bool,
    remains: Option<oneshot::Sender<Stream>>,
}

impl Watched {
    /// Watches `stream`. [`Remains`] gets what the server leaves of it.
    #[must_use]
    pub fn new(stream: Stream) -> (Self, Watch, Remains) {
        let watch = Watch::new();
        let (sender, receiver) = oneshot::channel();
        let watched = Self {
            stream: Some(stream),
            watch: watch.clone(),
            seen: Seen::Open,
            shut: false,
            remains: Some(sender),
        };
        (watched, watch.clone(), Remains { watch, stream: receiver })
    }

    fn stream(&mut self) -> io::Result<Pin<&mut Stream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn broke(&mut self) {
        self.seen = Seen::Broken;
        self.watch.line().over(false);
    }

    fn read_end(&mut self) {
        self.watch.line().finished();
        if self.stream.as_ref().is_some_and(Stream::sound) {
            self.seen = Seen::Fin;
        } else {
            self.broke();
        }
    }

    fn wrote(&mut self, written: &io::Result<usize>) {
        match written {
            Ok(bytes) => self.watch.line().wrote(*bytes),
            Err(_) => self.broke(),
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        let outcome = ready!(self.stream()?.poll_read(cx, buf));
        match &outcome {
            Err(_) => self.broke(),
            Ok(()) if buf.remaining() < room => self.watch.line().received(),
            Ok(()) if room > 0 => self.read_end(),
            Ok(()) => {}
        }
        Poll::Ready(outcome)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.stream()?.poll_write(cx, buf));
        self.wrote(&written);
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.stream()?.poll_write_vectored(cx, bufs));
        self.wrote(&written);
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(self.stream()?.poll_flush(cx));
        match &flushed {
            Ok(()) => self.watch.line().flushed(),
            Err(_) => self.broke(),
        }
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = ready!(self.stream()?.poll_shutdown(cx));
        self.shut = shut.is_ok();
        Poll::Ready(shut)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        match self.seen {
            // Here a reset that came after the FIN shows.
            Seen::Fin => self.watch.line().over(stream.sound()),
            Seen::Broken => {}
            Seen::Open if self.shut => {
                // Nobody waits for the remains of a connection that is being torn down: the
                // answers on it are lost then, as for any other that was dropped.
                let unwanted = self.remains.take().is_none_or(|to| to.send(stream).is_err());
                if unwanted {
                    self.watch.line().over(false);
                }
            }
            Seen::Open => self.watch.line().over(false),
        }
    }
}

/// What the server left of a connection that it closed in order before the client did.
#[derive(Debug)]
pub struct Remains {
    watch: Watch,
    stream: oneshot::Receiver<Stream>,
}

impl Remains {
    /// Waits for the client's last word, for about two seconds at most, once the server is done
    /// with the connection.
    ///
    /// After `Connection: close` only this tells an answer that was read from one that was not;
    /// and a connection closed while bytes of a refused request lie unread would send a RST, which
    /// can take the refusal away from the client before it has read it.
    pub async fn linger(mut self, clock: &Clock) {
        let Ok(mut stream) = self.stream.try_recv() else { return };
        if !self.watch.line().undecided() && !stream.unread() {
            return self.watch.line().over(false);
        }
        let end = clock.timeout(LINGER, read_to_end(&mut stream)).await;
        let mut line = self.watch.line();
        match end {
            Ok(Ok(())) => line.over(stream.sound()),
            Ok(Err(_broken)) => line.over(false),
            Err(_silence) => {
                line.quiet();
                line.over(false);
            }
        }
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        // Torn down while it lingered: a connection that is no more decides nothing in favour.
        self.watch.line().over(false);
    }
}

async fn read_to_end(stream: &mut Stream) -> io::Result<()> {
    let mut discarded = [0; 4096];
    while stream.read(&mut discarded).await? > 0 {}
    Ok(())
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
