//! A loopback port that stays the test's own, also while nobody listens on it.
//!
//! A bound socket that never listens keeps the kernel from giving the port to anybody who asks for
//! a free one; whoever binds the number itself, with `SO_REUSEADDR`, may listen there all the same.
//! So a server can be killed and started again on its port while other tests run beside it.
#![allow(clippy::unwrap_used, reason = "a helper of tests may fail the test")]

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

/// A port on 127.0.0.1.
#[derive(Debug)]
pub(crate) struct Port {
    addr: SocketAddr,
    _anchor: Socket,
}

impl Port {
    /// One that was free.
    pub(crate) fn free() -> Self {
        let anchor = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let addr = anchor.local_addr().unwrap().as_socket().unwrap();
        Self { addr, _anchor: anchor }
    }

    /// Its address.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its number.
    pub(crate) fn number(&self) -> u16 {
        self.addr.port()
    }

    /// Listens there, not blocking. Without that, whoever connects is refused.
    pub(crate) fn listen(&self) -> TcpListener {
        let socket = bound(self.addr);
        socket.listen(128).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.into()
    }
}

fn bound(addr: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&addr.into()).unwrap();
    socket
}

#[test]
fn a_port_is_refused_until_somebody_listens_and_again_afterwards() {
    let port = Port::free();
    let connect = || std::net::TcpStream::connect(port.addr());
    assert_eq!(connect().unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    let listener = port.listen();
    connect().unwrap();
    drop(listener);
    assert_eq!(connect().unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    connect().unwrap_err();
    port.listen();
}

#[test]
fn a_port_is_not_given_to_another() {
    let taken: Vec<Port> = (0..200).map(|_| Port::free()).collect();
    let numbers: std::collections::BTreeSet<u16> = taken.iter().map(Port::number).collect();
    assert_eq!(numbers.len(), taken.len());
}
