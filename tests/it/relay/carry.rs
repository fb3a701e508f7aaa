//! How connections are carried: one task each, two pumps within.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::script::{Accept, Cut, Direction, End, Flow, Way};
use super::{Account, Chunk, MOST_RECORDED, State};
use crate::port::Port;

/// Connections at one time; a further one is reset.
const MOST_LIVE: usize = 4_096;
/// The largest piece.
const PIECE: usize = 16 << 10;

/// Accepts until the relay is over.
pub(super) async fn serve(
    port: Port,
    listener: TcpListener,
    mut state: watch::Receiver<State>,
    orders: watch::Sender<State>,
    seen: Arc<Mutex<Account>>,
) {
    let mut connections = JoinSet::new();
    let mut listener = Some(tokio::net::TcpListener::from_std(listener).unwrap());
    loop {
        let now = *state.borrow_and_update();
        if now.over {
            return;
        }
        match (now.script.accept, &listener) {
            (Accept::Refuse, _) => {
                listener = None;
                drop(state.changed().await);
            }
            (Accept::Forward | Accept::Swallow, None) => {
                listener = Some(tokio::net::TcpListener::from_std(port.listen()).unwrap());
            }
            (Accept::Forward | Accept::Swallow, Some(open)) => tokio::select! {
                biased;
                _changed = state.changed() => {}
                Some(_ended) = connections.join_next(), if !connections.is_empty() => {}
                accepted = open.accept() => {
                    // A client that was gone again before it was accepted.
                    let Ok((client, _peer)) = accepted else { continue };
                    let Some(line) = Line::begin(&orders, &seen) else {
                        drop(client.set_zero_linger());
                        continue;
                    };
                    connections.spawn(async move { line.carry(client).await });
                }
            },
        }
    }
}

/// One connection, and what was in force when it began.
struct Line {
    number: u64,
    began: State,
    orders: watch::Sender<State>,
    seen: Arc<Mutex<Account>>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.seen.lock().unwrap().live -= 1;
    }
}

impl Line {
    fn begin(orders: &watch::Sender<State>, seen: &Arc<Mutex<Account>>) -> Option<Self> {
        let mut account = seen.lock().unwrap();
        if account.live == MOST_LIVE {
            return None;
        }
        account.live += 1;
        account.accepted += 1;
        let number = account.accepted;
        let began = *orders.borrow();
        Some(Self { number, began, orders: orders.clone(), seen: Arc::clone(seen) })
    }

    async fn carry(self, mut client: TcpStream) {
        drop(client.set_nodelay(true));
        let Some(mut target) = self.reach(&mut client).await else {
            drop(client.set_zero_linger());
            return;
        };
        drop(target.set_nodelay(true));
        let end = {
            let (from_client, to_client) = client.split();
            let (from_target, to_target) = target.split();
            let up = self.pump(Direction::Up, from_client, to_target);
            let down = self.pump(Direction::Down, from_target, to_client);
            tokio::select! {
                ended = async { tokio::try_join!(up, down) } => ended.err(),
                how = self.told_to_end() => Some(how),
            }
        };
        if end == Some(End::Reset) {
            drop(client.set_zero_linger());
            drop(target.set_zero_linger());
        }
    }

    /// A connection to the target, or none: it cannot be reached, or all was to be swallowed.
    async fn reach(&self, client: &mut TcpStream) -> Option<TcpStream> {
        match self.began.script.accept {
            Accept::Forward | Accept::Refuse => tokio::select! {
                connected = connect(self.began.target) => connected,
                _how = self.told_to_end() => None,
            },
            Accept::Swallow => {
                let mut waste = vec![0; PIECE];
                let mut state = self.orders.subscribe();
                let other = state.wait_for(|state| state.version != self.began.version);
                let swallow = async { while matches!(client.read(&mut waste).await, Ok(1..)) {} };
                tokio::select! {
                    _changed = other => {}
                    _how = self.told_to_end() => {}
                    () = swallow => {}
                }
                None
            }
        }
    }

    async fn told_to_end(&self) -> End {
        let mut state = self.orders.subscribe();
        let told = state.wait_for(|state| state.ended.0 != self.began.ended.0).await;
        told.map_or(End::Reset, |state| state.ended.1)
    }

    /// Carries one direction until it is closed in good order; else how the connection ends.
    async fn pump(
        &self,
        direction: Direction,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
    ) -> Result<(), End> {
        let mut state = self.orders.subscribe();
        let mut piece = vec![0; PIECE];
        let (mut version, mut carried, mut lost) = (self.began.version, 0, false);
        loop {
            let way = match self.begin_piece(direction, &mut state, lost).await? {
                Next::Closed => return closed(to.shutdown().await),
                Next::Carry(way) => way,
            };
            let most = way.drip.map_or(PIECE, |drip| drip.bytes.clamp(1, PIECE));
            let read = tokio::select! {
                biased;
                _changed = state.changed() => continue,
                read = from.read(&mut piece[..most]) => read,
            };
            let Ok(read) = read else { return Err(End::Reset) };
            if !way.latency.is_zero() {
                tokio::time::sleep(way.latency).await;
            }
            // What came in before a hold waits with the rest.
            let way = match self.begin_piece(direction, &mut state, lost).await? {
                Next::Closed => return closed(to.shutdown().await),
                Next::Carry(way) => way,
            };
            if read == 0 {
                return closed(to.shutdown().await);
            }
            if way.flow == Flow::Swallow {
                lost = true;
                continue;
            }
            let now = state.borrow().version;
            if now != version {
                (version, carried) = (now, 0);
            }
            let (left, cut) = up_to_cut(way.cut, carried, read);
            // Unless another connection was cut in its place.
            let cut = cut.filter(|cut| self.cut(direction, *cut, version));
            let send = if cut.is_some() { left } else { read };
            self.account(direction, &piece[..send]);
            to.write_all(&piece[..send]).await.map_err(|_gone| End::Reset)?;
            carried += send;
            if let Some(cut) = cut {
                return Err(cut.how);
            }
            pause(way.drip.map(|drip| drip.every)).await;
        }
    }

    /// What is to be done next in this direction, once it is not held.
    async fn begin_piece(
        &self,
        direction: Direction,
        state: &mut watch::Receiver<State>,
        lost: bool,
    ) -> Result<Next, End> {
        loop {
            let now = *state.borrow_and_update();
            let at = direction.index();
            if now.half_closed[at] != self.began.half_closed[at] {
                return Ok(Next::Closed);
            }
            let way = *now.script.way(direction);
            match way.flow {
                Flow::Forward if lost => return Err(End::Reset),
                Flow::Forward | Flow::Swallow => return Ok(Next::Carry(way)),
                Flow::Hold => state.changed().await.map_err(|_over| End::Reset)?,
            }
        }
    }

    /// Whether this connection is the one that is cut.
    fn cut(&self, direction: Direction, cut: Cut, version: u64) -> bool {
        let mut mine = true;
        if cut.once {
            // The script keeps its version: other connections go on counting.
            self.orders.send_if_modified(|state| {
                let planned = &mut state.script.way_mut(direction).cut;
                mine = state.version == version && planned.take() == Some(cut);
                mine
            });
        }
        self.seen.lock().unwrap().cuts += u64::from(mine);
        mine
    }

    fn account(&self, direction: Direction, bytes: &[u8]) {
        let recording = self.orders.borrow().recording;
        let mut seen = self.seen.lock().unwrap();
        seen.bytes[direction.index()] += bytes.len();
        if recording && !bytes.is_empty() && seen.held + bytes.len() <= MOST_RECORDED {
            seen.held += bytes.len();
            let (connection, bytes) = (self.number, bytes.to_vec());
            seen.recorded.push(Chunk { connection, direction, at: Instant::now(), bytes });
        }
    }
}

enum Next {
    Carry(Way),
    Closed,
}

/// How many of `read` bytes go, and the cut that comes after them.
fn up_to_cut(cut: Option<Cut>, carried: usize, read: usize) -> (usize, Option<Cut>) {
    let Some(cut) = cut else { return (read, None) };
    let left = cut.after.saturating_sub(carried);
    if read < left { (read, None) } else { (left, Some(cut)) }
}

async fn pause(time: Option<Duration>) {
    if let Some(time) = time {
        tokio::time::sleep(time).await;
    }
}

async fn connect(target: SocketAddr) -> Option<TcpStream> {
    TcpStream::connect(target).await.ok()
}

/// The receiver may be gone already, which is no less closed.
fn closed(done: std::io::Result<()>) -> Result<(), End> {
    match done {
        Err(error) if error.kind() != ErrorKind::NotConnected => Err(End::Reset),
        Ok(()) | Err(_) => Ok(()),
    }
}
