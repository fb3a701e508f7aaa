//! Observing changes nothing on either side of the wire.

use super::{charge, day, done, lines, observing, recorded};
use crate::exchange::stub::Stub;
use crate::harness::{Setup, World};

#[tokio::test]
async fn what_reaches_the_provider_is_the_same_with_and_without_observing() {
    let directory = tempfile::tempdir().unwrap();
    let (observed, path) = recorded(&observing(), directory.path()).await;
    let passing = Setup::policy("default_writes = \"pass\"\n").start().await;
    day(&observed).await;
    day(&passing).await;
    let seen = |world: &World| {
        let all = world.seen().into_iter();
        let all = all.map(|it| (it.method, it.target, it.key, it.headers, it.body_sha256));
        all.collect::<Vec<_>>()
    };
    assert_eq!(seen(&observed), seen(&passing));
    assert_eq!(observed.effects().len(), passing.effects().len());
    assert_eq!(lines(&path).len(), observed.seen().len());
}

#[tokio::test]
async fn both_sides_get_the_same_bytes_with_and_without_observing() {
    const ANSWERS: [&str; 3] = [
        "HTTP/1.1 200 OK\r\nRequest-Id: req_1\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 402 Payment Required\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n{\"error\":{}}\r\n0\r\n\r\n",
        "HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nOops",
    ];
    let mut sides = Vec::new();
    for policy in [observing(), "default_writes = \"pass\"\n".to_owned()] {
        let stub = Stub::start(|n, _| ANSWERS[n % 3].as_bytes().to_vec()).await;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("traffic.ndjson");
        let setup = Setup::policy(&policy).set("RECORD__PATH", path.display()).upstream(stub.addr);
        let world = setup.start().await;
        let mut replies = Vec::new();
        for key in 1..=3 {
            let reply = done(&world, &charge(500, key)).await;
            let fields: Vec<_> =
                reply.fields.into_iter().filter(|(name, _)| name != "date").collect();
            replies.push((reply.status, fields, reply.body));
        }
        let host = |head: &str| head.replace(&stub.addr.to_string(), "provider");
        let got: Vec<_> = stub.seen().into_iter().map(|got| (host(&got.head), got.body)).collect();
        sides.push((got, replies));
    }
    assert_eq!(sides[0], sides[1]);
}
