//! Which server of a Cluster serves which slot (Redis Cluster specification).

use redis::Value;

use super::node::Node;

/// How many slots a Cluster has.
const SLOTS: u16 = 16_384;
/// Servers beyond these are not taken from an answer.
const MOST_RANGES: usize = 16_384;

/// The slot of a key: CRC16 (XMODEM) of its hash tag, or of all of it, modulo 16384.
pub(super) fn slot_of(key: &str) -> u16 {
    let tag = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map(|(tag, _)| tag)
        .filter(|tag| !tag.is_empty())
        .unwrap_or(key);
    crc16(tag.as_bytes()) % SLOTS
}

/// CRC-16/XMODEM: polynomial 0x1021, begins with 0.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc: u16, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

/// From slots to the masters that serve them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slots(Vec<(u16, u16, Node)>);

impl Slots {
    /// Reads the answer to `CLUSTER SLOTS`, asked of `asked`. `None` if it is none.
    pub(super) fn read(answer: &Value, asked: &Node) -> Option<Self> {
        let Value::Array(ranges) = answer else { return None };
        let ranges: Option<Vec<_>> =
            ranges.iter().take(MOST_RANGES).map(|range| read_range(range, asked)).collect();
        ranges.filter(|ranges| !ranges.is_empty()).map(Self)
    }

    /// Who serves `slot`.
    pub(super) fn node(&self, slot: u16) -> Option<&Node> {
        self.0.iter().find(|(from, to, _)| (*from..=*to).contains(&slot)).map(|(_, _, node)| node)
    }

    /// All masters, each once.
    pub(super) fn masters(&self) -> Vec<&Node> {
        let mut nodes: Vec<&Node> = Vec::new();
        for (_, _, node) in &self.0 {
            if !nodes.contains(&node) {
                nodes.push(node);
            }
        }
        nodes
    }
}

fn read_range(range: &Value, asked: &Node) -> Option<(u16, u16, Node)> {
    let Value::Array(parts) = range else { return None };
    let [Value::Int(from), Value::Int(to), Value::Array(master), ..] = parts.as_slice() else {
        return None;
    };
    let [host, Value::Int(port), ..] = master.as_slice() else { return None };
    let port = u16::try_from(*port).ok()?;
    // No name: the one that was asked, on that port.
    let host = text(host).filter(|host| !host.is_empty());
    let node = named(host.as_deref(), port, asked)?;
    Some((u16::try_from(*from).ok()?, u16::try_from(*to).ok()?, node))
}

/// Where a redirection points: `MOVED 3999 host:port`, `ASK 3999 host:port`.
pub(super) fn redirected(detail: &str, asked: &Node) -> Option<Node> {
    let (host, port) = detail.split_whitespace().nth(1)?.rsplit_once(':')?;
    named(Some(host).filter(|host| !host.is_empty()), port.parse().ok()?, asked)
}

/// A server as a server names it; TLS is spoken with it if it is with who named it.
pub(super) fn named(host: Option<&str>, port: u16, asked: &Node) -> Option<Node> {
    let (own, tls) = match asked {
        Node::Tcp { host, tls, .. } => (Some(host.as_str()), *tls),
        Node::Unix(_) => (None, false),
    };
    let host = host.or(own)?.trim_matches(['[', ']']).to_owned();
    Some(Node::Tcp { host, port, tls })
}

/// A value as text.
pub(super) fn text(value: &Value) -> Option<String> {
    if let Value::BulkString(bytes) = value {
        return String::from_utf8(bytes.clone()).ok();
    }
    if let Value::SimpleString(text) = value { Some(text.clone()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot_of("foo"), 12_182);
        assert_eq!(slot_of("{foo}bar"), 12_182);
        assert_eq!(slot_of("a{foo}bar{zap}"), 12_182);
        assert_ne!(slot_of("{}foo"), slot_of("{}bar"));
    }

    #[test]
    fn a_map_is_read_with_masters_alone_and_a_nameless_one_is_who_was_asked() {
        let asked = Node::parse("rediss://seed:7000").unwrap();
        let server = |host: Value, port| Value::Array(vec![host, Value::Int(port), bulk("id")]);
        let answer = Value::Array(vec![
            Value::Array(vec![
                Value::Int(0),
                Value::Int(99),
                server(bulk("a"), 1),
                server(bulk("replica"), 9),
            ]),
            Value::Array(vec![Value::Int(100), Value::Int(16_383), server(Value::Nil, 2)]),
        ]);
        let slots = Slots::read(&answer, &asked).unwrap();
        assert_eq!(slots.node(99).unwrap().to_string(), "rediss://a:1");
        assert_eq!(slots.node(100).unwrap().to_string(), "rediss://seed:2");
        assert_eq!(slots.masters().len(), 2);
        for wrong in [Value::Nil, Value::Array(vec![]), Value::Array(vec![Value::Int(1)])] {
            assert_eq!(Slots::read(&wrong, &asked), None);
        }
    }

    #[test]
    fn a_redirection_names_a_server() {
        let asked = Node::parse("redis://seed:7000").unwrap();
        let to = |detail| redirected(detail, &asked).map(|node| node.to_string());
        assert_eq!(to("3999 127.0.0.1:6381").as_deref(), Some("redis://127.0.0.1:6381"));
        assert_eq!(to("3999 :6381").as_deref(), Some("redis://seed:6381"));
        assert_eq!(to("3999 ::1:6381").as_deref(), Some("redis://[::1]:6381"));
        assert_eq!(to("3999"), None);
    }
}
