//! A connection that can be broken on purpose: reset at any moment, or ended after so many bytes.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// One connection, shared by hyper, which reads and writes it, and by the faults.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    cut: Mutex<Option<Cut>>,
}

/// Where the answer is to break off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// Bytes still to be written.
    pub(crate) left: u64,
    /// `left` counts from the end of the head, which has not been seen yet.
    pub(crate) in_body: bool,
    /// With a reset; else with a clean end.
    pub(crate) reset: bool,
}

impl Wire {
    /// A connection as it was accepted.
    pub(crate) fn new(stream: TcpStream) -> Arc<Self> {
        Arc::new(Self { stream, cut: Mutex::new(None) })
    }

    /// What hyper reads and writes.
    pub(crate) fn io(self: &Arc<Self>) -> Io {
        Io(Arc::clone(self))
    }

    /// Makes the close of this connection a reset (RST). The close follows when hyper lets go.
    ///
    /// # Errors
    /// The system refused; the close will then be clean, and the fault is not what it claims.
    pub(crate) fn reset(&self) -> io::Result<()> {
        self.stream.set_zero_linger()
    }

    /// Says where what is written next is to break off; `None`: nowhere.
    pub(crate) fn arm(&self, cut: Option<Cut>) {
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = cut;
    }

    /// How much of `data` may be written now; an error once the answer is to break off.
    fn allowed(&self, data: &[u8]) -> io::Result<usize> {
        let mut armed = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(cut) = armed.as_mut() else { return Ok(data.len()) };
        if cut.in_body {
            // hyper hands a whole head over at once: it is flattened, and far below a buffer.
            let Some(end) = data.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
                return Ok(data.len());
            };
            cut.in_body = false;
            cut.left = cut.left.saturating_add(u64::try_from(end + 4).unwrap_or(u64::MAX));
        }
        if cut.left == 0 {
            if cut.reset {
                self.reset()?;
            }
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cut by a fault"));
        }
        Ok(usize::try_from(cut.left).unwrap_or(usize::MAX).min(data.len()))
    }

    fn wrote(&self, bytes: usize) {
        let mut armed = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cut) = armed.as_mut().filter(|cut| !cut.in_body) {
            cut.left = cut.left.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
        }
    }
}

/// hyper's end of a [`Wire`].
#[derive(Debug)]
pub(crate) struct Io(Arc<Wire>);

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.stream.poll_read_ready(cx))?;
            match self.0.stream.try_read(buf.initialize_unfilled()) {
                Ok(read) => {
                    buf.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let allowed = self.0.allowed(data)?;
        let data = data.get(..allowed).unwrap_or(data);
        loop {
            ready!(self.0.stream.poll_write_ready(cx))?;
            match self.0.stream.try_write(data) {
                Ok(wrote) => {
                    self.0.wrote(wrote);
                    return Poll::Ready(Ok(wrote));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The close that follows says the same.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
