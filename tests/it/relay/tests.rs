//! That a relay does what its script says, and nothing else.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use payonce::chance::Chance;

use super::{Accept, Cut, Direction, Drip, End, Flow, Relay, Script, Way};

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough to see that nothing comes.
const SILENCE: Duration = Duration::from_millis(60);

/// Sends everything back, and closes when its client does.
fn echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut bytes) {
                    if stream.write_all(&bytes[..read]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    addr
}

fn connect(relay: &Relay) -> TcpStream {
    let stream = TcpStream::connect(relay.addr()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn says(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
}

fn hears(stream: &mut TcpStream, text: &str) {
    let mut bytes = vec![0; text.len()];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, text.as_bytes());
}

/// All bytes up to the end, and whether it was a reset.
fn rest(stream: &mut TcpStream) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_length) => (bytes, false),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => (bytes, true),
        Err(error) => panic!("{error}"),
    }
}

#[track_caller]
fn silent(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    let error = stream.read(&mut [0; 16]).expect_err("nothing was to come");
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
}

#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn everything_is_carried_counted_and_recorded() {
    let relay = Relay::start(echo());
    relay.record(true);
    let mut client = connect(&relay);
    says(&mut client, "hello");
    hears(&mut client, "hello");
    assert_eq!((relay.bytes(Direction::Up), relay.bytes(Direction::Down)), (5, 5));
    let recorded = relay.recorded();
    let told: Vec<_> =
        recorded.iter().map(|it| (it.connection, it.direction, &*it.bytes)).collect();
    assert_eq!(told, [(1, Direction::Up, &b"hello"[..]), (1, Direction::Down, b"hello")]);
    assert!(recorded[0].at <= recorded[1].at && relay.recorded().is_empty());
    let long = "x".repeat(1_000_000);
    let mut writer = client.try_clone().unwrap();
    let sent = long.clone();
    let writing = std::thread::spawn(move || says(&mut writer, &sent));
    hears(&mut client, &long);
    writing.join().unwrap();
}

#[test]
fn an_end_in_good_order_passes_through_and_a_reset_stays_one() {
    let relay = Relay::start(echo());
    let mut client = connect(&relay);
    says(&mut client, "bye");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut client), (b"bye".to_vec(), false));
    until("the connection is over", || relay.live() == 0);

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    relay.toward(listener.local_addr().unwrap());
    let client = connect(&relay);
    let (mut target, _peer) = listener.accept().unwrap();
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    target.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(rest(&mut target).1);
}

#[test]
fn latency_delays_each_way() {
    let relay = Relay::start(echo());
    let mut client = connect(&relay);
    relay.set(Script::late(Duration::from_millis(30)));
    let began = Instant::now();
    says(&mut client, "slow");
    hears(&mut client, "slow");
    assert!(began.elapsed() >= Duration::from_millis(60), "{:?}", began.elapsed());
}

#[test]
fn dripping_hands_on_small_pieces() {
    let relay = Relay::start(echo());
    relay.record(true);
    let way = Way::dripping(3, Duration::from_millis(2));
    assert_eq!(way.drip, Some(Drip { bytes: 3, every: Duration::from_millis(2) }));
    relay.set(Script::one(Direction::Up, way));
    let mut client = connect(&relay);
    says(&mut client, "a long line");
    hears(&mut client, "a long line");
    let up = relay.recorded().into_iter().filter(|it| it.direction == Direction::Up);
    assert_eq!(up.map(|it| it.bytes.len()).collect::<Vec<_>>(), [3, 3, 3, 2]);
}

#[test]
fn a_cut_lets_so_many_bytes_pass_and_ends_one_connection() {
    let relay = Relay::start(echo());
    let mut client = connect(&relay);
    says(&mut client, "before");
    hears(&mut client, "before");
    relay.set(Script::one(Direction::Down, Way::cut(4, End::Fin)));
    says(&mut client, "truncated");
    assert_eq!(rest(&mut client), (b"trun".to_vec(), false));
    assert_eq!((relay.cuts(), relay.script()), (1, Script::default()));
    let mut client = connect(&relay);
    says(&mut client, "whole again");
    hears(&mut client, "whole again");
}

#[test]
fn a_cut_may_reset_and_may_meet_every_connection() {
    let relay = Relay::start(echo());
    let cut = Some(Cut { after: 0, how: End::Reset, once: false });
    relay.set(Script::one(Direction::Up, Way { cut, ..Way::default() }));
    for _ in 0..3 {
        let mut client = connect(&relay);
        says(&mut client, "never there");
        assert_eq!(rest(&mut client), (Vec::new(), true));
    }
    assert_eq!((relay.cuts(), relay.bytes(Direction::Up)), (3, 0));
}

#[test]
fn all_connections_end_at_once_when_told() {
    let relay = Relay::start(echo());
    for (how, reset) in [(End::Reset, true), (End::Fin, false)] {
        let mut clients = [connect(&relay), connect(&relay)];
        for client in &mut clients {
            says(client, "a");
            hears(client, "a");
        }
        relay.end_all(how);
        for client in &mut clients {
            assert_eq!(rest(client), (Vec::new(), reset));
        }
    }
    says(&mut connect(&relay), "others are not touched");
}

#[test]
fn a_half_close_ends_one_direction_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let relay = Relay::start(listener.local_addr().unwrap());
    let mut client = connect(&relay);
    let (mut target, _peer) = listener.accept().unwrap();
    relay.half_close(Direction::Down);
    assert_eq!(rest(&mut client), (Vec::new(), false));
    says(&mut client, "still heard");
    target.set_read_timeout(Some(PATIENCE)).unwrap();
    hears(&mut target, "still heard");
}

#[test]
fn what_is_held_comes_later_and_what_is_swallowed_never() {
    let relay = Relay::start(echo());
    let mut client = connect(&relay);
    says(&mut client, "first");
    hears(&mut client, "first");
    relay.set(Script::held());
    says(&mut client, "held");
    silent(&mut client);
    relay.heal();
    hears(&mut client, "held");

    relay.set(Script::black_hole());
    let mut fresh = connect(&relay);
    for stream in [&mut client, &mut fresh] {
        says(stream, "lost");
        silent(stream);
    }
    relay.heal();
    assert!(rest(&mut client).1 && rest(&mut fresh).1);
    says(&mut connect(&relay), "well again");
}

#[test]
fn only_one_direction_may_be_held() {
    let relay = Relay::start(echo());
    let mut client = connect(&relay);
    relay.set(Script::one(Direction::Down, Way { flow: Flow::Hold, ..Way::default() }));
    says(&mut client, "there");
    until("it got there", || relay.bytes(Direction::Up) == 5);
    silent(&mut client);
    relay.heal();
    hears(&mut client, "there");
}

#[test]
fn refusing_spares_those_who_are_connected() {
    let relay = Relay::start(echo());
    let mut client = connect(&relay);
    says(&mut client, "a");
    hears(&mut client, "a");
    relay.set(Script { accept: Accept::Refuse, ..Script::default() });
    until("it refuses", || {
        let error = TcpStream::connect(relay.addr()).err();
        error.is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
    says(&mut client, "b");
    hears(&mut client, "b");
    relay.heal();
    until("it accepts again", || TcpStream::connect(relay.addr()).is_ok());
}

#[test]
fn a_target_that_cannot_be_reached_makes_a_reset() {
    let nobody = crate::port::Port::free();
    let relay = Relay::start(nobody.addr());
    let mut client = connect(&relay);
    assert!(rest(&mut client).1);
    assert_eq!(relay.accepted(), 1);
}

#[test]
fn the_same_seed_draws_the_same_troubles() {
    let drawn = |seed| {
        let chance = Chance::seeded(seed);
        (0..50).map(|_| Script::drawn(&chance, 500)).collect::<Vec<_>>()
    };
    assert_eq!(drawn(1), drawn(1));
    assert_ne!(drawn(1), drawn(2));
    assert!(drawn(1).iter().all(|script| *script != Script::default()));
}

#[test]
fn a_dropped_relay_resets_what_it_carried_and_is_gone() {
    let relay = Relay::start(echo());
    let mut client = connect(&relay);
    let handle = relay.handle();
    says(&mut client, "a");
    hears(&mut client, "a");
    drop(relay);
    rest(&mut client);
    assert!(TcpStream::connect(handle.addr()).is_err());
}
