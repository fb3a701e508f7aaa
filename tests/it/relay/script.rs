//! What a relay is told to do.

use std::time::Duration;

use payonce::chance::Chance;

/// What happens to connections. By default, nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Script {
    /// What whoever connects meets.
    pub(crate) accept: Accept,
    /// From the client to the target.
    pub(crate) up: Way,
    /// From the target to the client.
    pub(crate) down: Way,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the client to the target.
    Up,
    /// From the target to the client.
    Down,
}

/// What whoever connects meets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Accept {
    /// A way to the target; a reset if the target cannot be reached.
    #[default]
    Forward,
    /// Nobody listens: the connection is refused.
    Refuse,
    /// It is accepted, and what is sent goes nowhere. It is reset with the next script.
    Swallow,
}

/// What happens to the bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Way {
    /// How long each piece (16 KiB at most) takes; the next is read after that.
    pub(crate) latency: Duration,
    /// Slowly, in small pieces.
    pub(crate) drip: Option<Drip>,
    /// An end after so many bytes.
    pub(crate) cut: Option<Cut>,
    /// Whether bytes are carried at all.
    pub(crate) flow: Flow,
}

/// So many bytes each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Drip {
    /// At least 1.
    pub(crate) bytes: usize,
    /// The pause after each piece.
    pub(crate) every: Duration,
}

/// An end in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// So many bytes are carried on each connection, from when the script was given; then it ends,
    /// in both directions. With 0 it ends when there is a byte to carry.
    pub(crate) after: usize,
    /// How it ends.
    pub(crate) how: End,
    /// One connection only, whichever comes first. Otherwise each, until another script.
    pub(crate) once: bool,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A reset, to both sides.
    Reset,
    /// Both sides are closed in good order. (What came in and was not carried makes a reset of it:
    /// so TCP has it.)
    Fin,
}

/// Whether bytes are carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Flow {
    /// They are.
    #[default]
    Forward,
    /// They wait, and go on with a script that lets them. Ends of connections wait too.
    Hold,
    /// They are taken and lost. A connection that lost some is reset once the script carries again.
    Swallow,
}

impl Direction {
    pub(super) fn index(self) -> usize {
        match self {
            Self::Up => 0,
            Self::Down => 1,
        }
    }
}

impl Script {
    /// What happens in a direction.
    pub(crate) fn way(&self, direction: Direction) -> &Way {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    pub(super) fn way_mut(&mut self, direction: Direction) -> &mut Way {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }

    /// New connections are refused. Those that live stay.
    pub(crate) fn refusing() -> Self {
        Self { accept: Accept::Refuse, ..Self::default() }
    }

    /// A black hole: connections stand and are made, and nothing passes.
    pub(crate) fn black_hole() -> Self {
        let nothing = Way { flow: Flow::Swallow, ..Way::default() };
        Self { accept: Accept::Swallow, up: nothing, down: nothing }
    }

    /// Nothing passes, both ways, until another script; then all of it does.
    pub(crate) fn held() -> Self {
        let held = Way { flow: Flow::Hold, ..Way::default() };
        Self { accept: Accept::Forward, up: held, down: held }
    }

    /// Late both ways.
    pub(crate) fn late(by: Duration) -> Self {
        Self { up: Way::late(by), down: Way::late(by), ..Self::default() }
    }

    /// One direction alone.
    pub(crate) fn one(direction: Direction, way: Way) -> Self {
        let mut script = Self::default();
        *script.way_mut(direction) = way;
        script
    }

    /// One trouble, drawn: lateness, dripping, a cut, a black hole, a hold or a refusal; `most` is
    /// how many bytes pass before a cut at most.
    pub(crate) fn drawn(chance: &Chance, most: usize) -> Self {
        let draw = |below: usize| usize::from_le_bytes(chance.bytes()) % below.max(1);
        let direction = if draw(2) == 0 { Direction::Up } else { Direction::Down };
        let way = match draw(7) {
            0 => return Self::refusing(),
            1 => return Self::black_hole(),
            2 => Way { flow: Flow::Hold, ..Way::default() },
            3 => Way::late(Duration::from_millis(1) * u32::try_from(1 + draw(50)).unwrap_or(1)),
            4 => Way::dripping(1 + draw(64), Duration::from_millis(1)),
            5 => Way::cut(draw(most), End::Fin),
            _six => Way::cut(draw(most), End::Reset),
        };
        Self::one(direction, way)
    }
}

impl Way {
    /// Late.
    pub(crate) fn late(latency: Duration) -> Self {
        Self { latency, ..Self::default() }
    }

    /// So many bytes each time.
    pub(crate) fn dripping(bytes: usize, every: Duration) -> Self {
        Self { drip: Some(Drip { bytes, every }), ..Self::default() }
    }

    /// One connection ends after so many bytes.
    pub(crate) fn cut(after: usize, how: End) -> Self {
        Self { cut: Some(Cut { after, how, once: true }), ..Self::default() }
    }
}
