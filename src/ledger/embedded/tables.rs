//! What stands in the file, and compare and swap on it within one transaction.
//!
//! A value is readable by a person ([`value`](crate::ledger::value)); when it expires and what
//! points at it stand beside it. Nothing here commits, waits or reads a clock.

use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageError, Table,
    TableDefinition, TableError, TableHandle, WriteTransaction,
};

use crate::clock::Timestamp;
use crate::ledger::{
    Claimed, Entry, Held, KeyDigest, LedgerError, RecordId, Replaced, Version, found_by, full,
    value,
};

/// The newest form of the file that is known here.
pub(super) const FORMAT: u64 = 1;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("payonce_meta");
const RECORDS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("records");
/// When a record expires (milliseconds since the epoch), and the keys that point at it.
const HINTS: TableDefinition<'_, &[u8; 32], (u64, Vec<[u8; 16]>)> = TableDefinition::new("hints");
const EXPIRY: TableDefinition<'_, (u64, &[u8; 32]), ()> = TableDefinition::new("expiry");
const OPEN: TableDefinition<'_, &[u8; 32], ()> = TableDefinition::new("open");
const KEYS: TableDefinition<'_, &[u8; 16], &[u8; 32]> = TableDefinition::new("keys");

const FORMAT_KEY: &str = "format";
const LAST_VERSION_KEY: &str = "last_version";

/// Why the tables of a file are not used.
pub(super) enum BadForm {
    Newer(u64),
    Foreign,
    Unreadable(redb::Error),
}

impl From<redb::Error> for BadForm {
    fn from(error: redb::Error) -> Self {
        Self::Unreadable(error)
    }
}

/// Checks the form of the file; gives an empty file its form.
pub(super) fn prepare(store: &Database) -> Result<(), BadForm> {
    match format(store)? {
        Some(FORMAT) => Ok(()),
        Some(newer) if newer > FORMAT => Err(BadForm::Newer(newer)),
        Some(_) => Err(BadForm::Foreign),
        None => Ok(stamp(store)?),
    }
}

/// The form that the file says it has: `None` if it is empty, 0 if it has other tables.
fn format(store: &Database) -> Result<Option<u64>, redb::Error> {
    let reading = store.begin_read()?;
    let names: Vec<_> = reading.list_tables()?.collect();
    if names.is_empty() {
        return Ok(None);
    }
    if !names.iter().any(|table| table.name() == META.name()) {
        return Ok(Some(0));
    }
    let format = reading.open_table(META)?.get_owned(FORMAT_KEY)?;
    Ok(Some(format.map_or(0, |format| format.value())))
}

fn stamp(store: &Database) -> Result<(), redb::Error> {
    let mut writing = store.begin_write()?;
    writing.set_two_phase_commit(true);
    writing.open_table(META)?.insert(FORMAT_KEY, FORMAT)?;
    Ok(writing.commit()?)
}
/// Why one call could not be served.
pub(super) enum Fault {
    /// It alone cannot be: the other calls of the transaction can.
    Call(LedgerError),
    /// The file failed: the whole transaction is off.
    Store(LedgerError),
}

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Self {
        Self::Store(broken(error))
    }
}

impl From<TableError> for Fault {
    fn from(error: TableError) -> Self {
        Self::Store(broken(error))
    }
}

/// What an error of the file means to who asked.
pub(super) fn broken(error: impl Into<redb::Error>) -> LedgerError {
    let error = error.into();
    if matches!(error, redb::Error::Corrupted(_)) {
        return LedgerError::Damaged(error.to_string());
    }
    LedgerError::Unavailable(format!("its file failed: {error}; a write may have happened"))
}

/// The tables within one write transaction, at one instant.
pub(super) struct Tables<'txn> {
    now: Timestamp,
    max_records: u64,
    last_version: u64,
    changed: bool,
    meta: Table<'txn, &'static str, u64>,
    records: Table<'txn, &'static [u8; 32], &'static [u8]>,
    hints: Table<'txn, &'static [u8; 32], (u64, Vec<[u8; 16]>)>,
    expiry: Table<'txn, (u64, &'static [u8; 32]), ()>,
    open: Table<'txn, &'static [u8; 32], ()>,
    keys: Table<'txn, &'static [u8; 16], &'static [u8; 32]>,
}

impl<'txn> Tables<'txn> {
    pub(super) fn new(
        txn: &'txn WriteTransaction,
        now: Timestamp,
        max_records: u64,
    ) -> Result<Self, Fault> {
        let meta = txn.open_table(META)?;
        let last_version = meta.get(LAST_VERSION_KEY)?.map_or(0, |last| last.value());
        Ok(Self {
            now,
            max_records,
            last_version,
            changed: false,
            meta,
            records: txn.open_table(RECORDS)?,
            hints: txn.open_table(HINTS)?,
            expiry: txn.open_table(EXPIRY)?,
            open: txn.open_table(OPEN)?,
            keys: txn.open_table(KEYS)?,
        })
    }

    pub(super) fn claim(
        &mut self,
        first: RecordId,
        ids: &[RecordId],
        fresh: &Entry,
    ) -> Result<Claimed, Fault> {
        for id in ids {
            if let Some(held) = self.get(*id)? {
                return Ok(Claimed::Found(held));
            }
        }
        self.forget(first)?;
        if self.records.len()? >= self.max_records && self.sweep(1)? == 0 {
            return Err(Fault::Call(full(self.max_records)));
        }
        Ok(Claimed::Fresh(self.put(first, fresh)?))
    }

    pub(super) fn replace(
        &mut self,
        id: RecordId,
        seen: Version,
        entry: &Entry,
    ) -> Result<Replaced, Fault> {
        match self.get(id)? {
            Some(held) if held.version == seen => Ok(Replaced::Done(Some(self.put(id, entry)?))),
            other => Ok(Replaced::Moved(other)),
        }
    }

    pub(super) fn remove(&mut self, id: RecordId, seen: Version) -> Result<Replaced, Fault> {
        match self.get(id)? {
            Some(held) if held.version == seen => {
                self.forget(id)?;
                Ok(Replaced::Done(None))
            }
            other => Ok(Replaced::Moved(other)),
        }
    }

    pub(super) fn get(&self, id: RecordId) -> Result<Option<Held>, Fault> {
        match self.hints.get(&id.0)? {
            Some(hint) if hint.value().0 > self.now.as_millis() => {}
            Some(_) | None => return Ok(None),
        }
        let damaged = |what| Fault::Call(LedgerError::Damaged(what));
        let value = self.records.get(&id.0)?;
        let value = value.ok_or_else(|| damaged(format!("record {id} has an expiry alone")))?;
        value::decode(id, value.value()).map(Some).map_err(damaged)
    }

    /// One that cannot be read does not hide the others: it is left out.
    pub(super) fn open(&self, limit: usize) -> Result<Vec<Held>, Fault> {
        let mut found = Vec::new();
        for entry in self.open.iter()? {
            if found.len() >= limit {
                break;
            }
            match self.get(RecordId(*entry?.0.value())) {
                Ok(held) => found.extend(held),
                Err(Fault::Call(unreadable)) => {
                    tracing::warn!(error = %unreadable, "an open operation is left out of the list");
                }
                Err(Fault::Store(error)) => return Err(Fault::Store(error)),
            }
        }
        Ok(found)
    }

    pub(super) fn by_key(&self, key: KeyDigest) -> Result<Option<Held>, Fault> {
        match self.keys.get(&key.0)?.map(|id| RecordId(*id.value())) {
            Some(id) => self.get(id),
            None => Ok(None),
        }
    }

    /// Takes away at most `limit` expired records, and says how many it took.
    pub(super) fn sweep(&mut self, limit: usize) -> Result<usize, Fault> {
        let mut due = Vec::new();
        for entry in self.expiry.iter()?.take(limit) {
            let entry = entry?.0;
            let (expires, id) = entry.value();
            if expires > self.now.as_millis() {
                break;
            }
            due.push(RecordId(*id));
        }
        for id in &due {
            self.forget(*id)?;
        }
        Ok(due.len())
    }

    pub(super) fn changed(&self) -> bool {
        self.changed
    }

    /// Lets go of the tables, so that the transaction can be committed if this says so.
    pub(super) fn finish(mut self) -> Result<bool, Fault> {
        if self.changed {
            self.meta.insert(LAST_VERSION_KEY, self.last_version)?;
        }
        Ok(self.changed)
    }

    /// How many rows each table has: records, hints, expiry, open, keys.
    #[cfg(test)]
    pub(super) fn rows(&self) -> Result<[u64; 5], StorageError> {
        let (records, hints, expiry) = (self.records.len()?, self.hints.len()?, self.expiry.len()?);
        Ok([records, hints, expiry, self.open.len()?, self.keys.len()?])
    }

    fn put(&mut self, id: RecordId, entry: &Entry) -> Result<Version, Fault> {
        let (keys, gone) = found_by(self.take(id)?, &entry.keys);
        self.unlink(id, &gone)?;
        self.changed = true;
        self.last_version += 1;
        let version = Version(self.last_version);
        let expires = self.now.plus(entry.ttl).as_millis();
        let keys = keys.iter().map(|key| key.0).collect();
        self.records.insert(&id.0, value::encode(version, &entry.record).as_ref())?;
        self.hints.insert(&id.0, (expires, keys))?;
        self.expiry.insert((expires, &id.0), ())?;
        if entry.open {
            self.open.insert(&id.0, ())?;
        }
        for key in &entry.keys {
            self.keys.insert(&key.0, &id.0)?;
        }
        Ok(version)
    }

    /// Takes a record away with all that points at it; a key that points at another one by now
    /// stays.
    fn forget(&mut self, id: RecordId) -> Result<(), Fault> {
        let keys = self.take(id)?;
        self.unlink(id, &keys)
    }

    /// Takes a record away; the keys that find it are left to the caller.
    fn take(&mut self, id: RecordId) -> Result<Vec<KeyDigest>, Fault> {
        let Some((expires, keys)) = self.hints.remove(&id.0)?.map(|hint| hint.value()) else {
            return Ok(Vec::new());
        };
        self.changed = true;
        self.records.remove(&id.0)?;
        self.expiry.remove((expires, &id.0))?;
        self.open.remove(&id.0)?;
        Ok(keys.into_iter().map(KeyDigest).collect())
    }

    fn unlink(&mut self, id: RecordId, keys: &[KeyDigest]) -> Result<(), Fault> {
        for key in keys {
            let ours = self.keys.get(&key.0)?.is_some_and(|holder| *holder.value() == id.0);
            if ours {
                self.keys.remove(&key.0)?;
            }
        }
        Ok(())
    }
}
