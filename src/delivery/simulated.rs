//! A client connection without a socket, for simulations: who plays the client says what it does.

use super::Watch;

/// The client's end of a connection that is not there.
#[derive(Debug)]
pub struct Simulated(Watch);

impl Simulated {
    /// A connection: what payonce watches it with, and the client's end.
    #[must_use]
    pub fn connect() -> (Watch, Self) {
        let watch = Watch::new();
        (watch.clone(), Self(watch))
    }

    /// The kernel took an answer of so many bytes, whose body was read to its end and dropped.
    pub fn accepted(&self, bytes: usize) {
        let mut line = self.0.line();
        line.wrote(bytes);
        line.flushed();
    }

    /// The client sent its next request.
    pub fn went_on(&self) {
        self.0.line().received();
    }

    /// The client closed the connection having read all of it (`clean`), or reset it.
    pub fn over(&self, clean: bool) {
        self.0.line().over(clean);
    }
}
