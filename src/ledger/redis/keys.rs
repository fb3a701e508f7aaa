//! The names of what stands in Redis, and the one script that swaps it.
//!
//! ```text
//! {prefix}{3f}:3f2a…        a record: version, newline, JSON; expires
//! {prefix}{3f}:open         the open operations whose ids begin with 3f, scored by expiry
//! {prefix}{3f}:watch        a mark by which the store is seen to have forgotten
//! {prefix}k:9c01…           from the digest of a key to the id of its record; expires
//! ```
//!
//! The braces are a hash tag: on a Cluster a record and its list of open operations lie in one
//! slot, so that one script keeps both in step on every topology. 256 tags spread over any cluster
//! that payonce needs.

use redis::{Cmd, Script};

use crate::ledger::{KeyDigest, RecordId};

/// Compare and swap: no rule of payonce's lives in it.
///
/// KEYS: the record, its list of open operations. ARGV: the version that must stand (empty: none
/// may), the value (empty: remove), its time to live in ms, whether it is open ("1"), the id.
/// Answers 1 if it was done, else the value that stands, else nothing.
const SWAP: &str = r"
local stands = redis.call('GET', KEYS[1])
local version = ''
if stands then version = string.match(stands, '^(%d+)\n') or '?' end
if version ~= ARGV[1] then return stands end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
if ARGV[4] == '1' then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
  redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[5])
  if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[3]) then
    redis.call('PEXPIRE', KEYS[2], ARGV[3])
  end
else
  redis.call('ZREM', KEYS[2], ARGV[5])
end
return 1
";

/// A command, and the key that says which server of a Cluster it goes to.
#[derive(Clone)]
pub(super) struct Command {
    /// Where it goes.
    pub(super) key: String,
    /// What is sent.
    pub(super) cmd: Cmd,
    /// The same in full, for a server that does not know the script.
    pub(super) whole: Option<Cmd>,
    /// Nothing hangs on it, so that it is not waited for much longer than for the rest.
    pub(super) hint: bool,
}

impl Command {
    /// A command about `key`.
    pub(super) fn new(key: String, cmd: Cmd) -> Self {
        Self { key, cmd, whole: None, hint: false }
    }

    /// One that may be lost.
    pub(super) fn hint(key: String, cmd: Cmd) -> Self {
        Self { hint: true, ..Self::new(key, cmd) }
    }
}

/// What a swap asks for.
pub(super) struct Swap<'a> {
    /// Whose record.
    pub(super) id: RecordId,
    /// The version that must stand; `None`: nothing may stand.
    pub(super) seen: Option<u64>,
    /// What to put there; `None`: remove what stands.
    pub(super) value: Option<&'a [u8]>,
    /// How long it is kept, in ms of the server's time; at least 1.
    pub(super) ttl: u64,
    /// Whether it belongs on the list of open operations.
    pub(super) open: bool,
}

/// Names and scripts under one prefix.
pub(super) struct Keys {
    prefix: String,
    script: Script,
}

impl Keys {
    /// Names that begin with `prefix`.
    pub(super) fn new(prefix: String) -> Self {
        Self { prefix, script: Script::new(SWAP) }
    }

    /// The name of a record.
    pub(super) fn record(&self, id: RecordId) -> String {
        let [tag, ..] = id.0;
        format!("{}{{{tag:02x}}}:{id}", self.prefix)
    }

    /// The list of open operations of one tag.
    pub(super) fn open(&self, tag: u8) -> String {
        format!("{}{{{tag:02x}}}:open", self.prefix)
    }

    /// The mark of one tag.
    pub(super) fn watch(&self, tag: u8) -> String {
        format!("{}{{{tag:02x}}}:watch", self.prefix)
    }

    /// Where a key's digest points to its record.
    pub(super) fn digest(&self, key: KeyDigest) -> String {
        format!("{}k:{}", self.prefix, hex::encode(key.0))
    }

    /// Makes the script known to a server.
    pub(super) fn load_script() -> Cmd {
        let mut cmd = redis::cmd("SCRIPT");
        cmd.arg("LOAD").arg(SWAP);
        cmd
    }

    /// A compare and swap.
    pub(super) fn swap(&self, swap: &Swap<'_>) -> Command {
        let [tag, ..] = swap.id.0;
        let key = self.record(swap.id);
        let open = self.open(tag);
        let call = |name: &str, script: &str| {
            let mut cmd = redis::cmd(name);
            cmd.arg(script).arg(2).arg(&key).arg(&open);
            cmd.arg(swap.seen.map(|seen| seen.to_string()).unwrap_or_default());
            cmd.arg(swap.value.unwrap_or_default()).arg(swap.ttl);
            cmd.arg(if swap.open { "1" } else { "" }).arg(swap.id.to_string());
            cmd
        };
        let cmd = call("EVALSHA", self.script.get_hash());
        let whole = Some(call("EVAL", SWAP));
        Command { cmd, whole, key: key.clone(), hint: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_and_its_open_list_bear_one_hash_tag_and_the_whole_id_can_be_searched_for() {
        let (keys, id) = (Keys::new("p:".to_owned()), RecordId([0xab; 32]));
        assert_eq!(keys.record(id), format!("p:{{ab}}:{}", "ab".repeat(32)));
        assert_eq!(keys.open(0xab), "p:{ab}:open");
        assert_eq!(keys.watch(0), "p:{00}:watch");
        assert_eq!(keys.digest(KeyDigest([1; 16])), format!("p:k:{}", "01".repeat(16)));
    }
}
