//! What a server says of itself, and whether records are safe with it. Pure.

use redis::Value;

use super::slots::text;

/// The oldest Redis that payonce works with. (Valkey began at 7.2.)
const OLDEST: u32 = 7;

/// What `INFO`, and `CONFIG GET save` where it is allowed, say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// `7.0.15`; Valkey says which Redis it is like.
    pub(super) version: Option<String>,
    /// `master` or `slave`.
    pub(super) role: Option<String>,
    /// `noeviction`, `allkeys-lru`…
    pub(super) eviction: Option<String>,
    /// Whether each write is appended to a file.
    pub(super) appends: bool,
    /// Whether snapshots are written; `None` if it would not say.
    pub(super) snapshots: Option<bool>,
    /// Which history of writes this is.
    pub(super) replication: Option<String>,
    /// How many keys it dropped for want of memory.
    pub(super) evicted: u64,
}

impl Facts {
    /// Reads the answers to `INFO` and `CONFIG GET save`.
    pub(super) fn read(info: &Value, save: &Value) -> Self {
        let info = text(info).unwrap_or_default();
        let field = |name: &str| {
            info.lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(field, _)| *field == name)
                .map(|(_, value)| value.trim().to_owned())
        };
        Self {
            version: field("redis_version"),
            role: field("role"),
            eviction: field("maxmemory_policy"),
            appends: field("aof_enabled").as_deref() == Some("1"),
            snapshots: saves(save),
            replication: field("master_replid"),
            evicted: field("evicted_keys").and_then(|count| count.parse().ok()).unwrap_or(0),
        }
    }

    /// Why payonce does not work with this server, ever.
    pub(super) fn unfit(&self) -> Option<String> {
        let version = self.version.as_deref()?;
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        match major {
            Some(major) if major < OLDEST => Some(format!(
                "it is Redis {version}; payonce needs Redis {OLDEST}.0 or newer, or Valkey"
            )),
            Some(_) | None => None,
        }
    }

    /// Whether it takes no writes.
    pub(super) fn is_replica(&self) -> bool {
        self.role.as_deref() == Some("slave")
    }

    /// Whether it neither drops records nor loses more than its last second when it crashes.
    pub(super) fn keeps(&self) -> bool {
        self.eviction.as_deref() == Some("noeviction") && self.appends
    }

    /// What should be said aloud, in the order of weight.
    pub(super) fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        match self.eviction.as_deref() {
            Some("noeviction") => {}
            Some(policy) => doubts.push(format!(
                "its maxmemory-policy is {policy}: it drops records without a word when memory is \
                 short; set noeviction"
            )),
            None => doubts.push("it would not tell its maxmemory-policy".to_owned()),
        }
        match (self.appends, self.snapshots) {
            (true, _) => {}
            (false, Some(true)) => doubts.push(
                "appendonly is off: a crash loses what was written since the last snapshot"
                    .to_owned(),
            ),
            (false, Some(false)) => doubts.push(
                "it writes nothing to disk (appendonly is off, and it takes no snapshots): a \
                 restart loses every record"
                    .to_owned(),
            ),
            (false, None) => doubts.push(
                "appendonly is off, and it would not tell whether it takes snapshots".to_owned(),
            ),
        }
        doubts
    }
}

/// From `["save", "3600 1 300 100"]`.
fn saves(answer: &Value) -> Option<bool> {
    let Value::Array(parts) = answer else { return None };
    let points = parts.get(1).and_then(text)?;
    Some(!points.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Server\r\nredis_version:7.0.15\r\n# Memory\r\nmaxmemory_policy:noeviction\r\n\
        # Persistence\r\naof_enabled:1\r\n# Stats\r\nevicted_keys:3\r\n\
        # Replication\r\nrole:master\r\nmaster_replid:00ff\r\n";

    fn facts(info: &str, save: Option<&str>) -> Facts {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let save = save.map_or(Value::Nil, |save| Value::Array(vec![bulk("save"), bulk(save)]));
        Facts::read(&bulk(info), &save)
    }

    #[test]
    fn a_sound_server_raises_no_doubt() {
        let facts = facts(INFO, Some("3600 1"));
        assert_eq!(facts.unfit(), None);
        assert!(facts.keeps() && !facts.is_replica());
        assert_eq!(facts.doubts(), Vec::<String>::new());
        assert_eq!((facts.evicted, facts.replication.as_deref()), (3, Some("00ff")));
    }

    #[test]
    fn a_server_before_version_7_is_unfit_and_valkey_is_not() {
        let of = |version: &str| facts(&INFO.replace("7.0.15", version), None).unfit();
        assert!(of("6.2.14").unwrap().contains("Redis 6.2.14"));
        assert!(of("5.0.0").is_some());
        // Valkey 8 says that it is like Redis 7.2.4.
        assert_eq!(of("7.2.4"), None);
        assert_eq!(of("10.0.0"), None);
    }

    #[test]
    fn eviction_and_missing_persistence_are_doubts_and_such_a_server_may_forget() {
        let evicting = facts(&INFO.replace("noeviction", "allkeys-lru"), Some(""));
        assert!(!evicting.keeps());
        assert!(evicting.doubts().concat().contains("allkeys-lru"));
        let plain = INFO.replace("aof_enabled:1", "aof_enabled:0");
        for (save, words) in [
            (Some("3600 1"), "since the last snapshot"),
            (Some(""), "loses every record"),
            (None, "would not tell"),
        ] {
            let facts = facts(&plain, save);
            assert!(!facts.keeps());
            assert!(facts.doubts().concat().contains(words), "{:?}", facts.doubts());
        }
    }

    #[test]
    fn a_server_that_says_nothing_is_taken_but_not_trusted() {
        let facts = facts("", None);
        assert_eq!(facts.unfit(), None);
        assert!(!facts.keeps() && !facts.is_replica());
        assert_eq!(facts.doubts().len(), 2);
    }
}
