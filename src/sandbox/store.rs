//! The objects and the balance of one scope.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::objects::cards::Card;

/// What every currency's balance starts with, in its smallest unit.
pub(crate) const STARTING_BALANCE: i64 = 100_000_000;

/// One object.
#[derive(Debug)]
pub(crate) struct Object {
    /// What the API shows.
    pub(crate) fields: Map<String, Value>,
    /// How its card behaves, if it is one.
    pub(crate) card: Option<Card>,
    place: String,
    seq: u64,
}

/// All of one scope.
#[derive(Debug, Default)]
pub(crate) struct Account {
    objects: HashMap<String, Object>,
    /// Ids by collection path, in the order of creation.
    places: HashMap<String, BTreeMap<u64, String>>,
    balance: BTreeMap<String, i64>,
    seq: u64,
}

impl Account {
    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }

    /// The object with this id.
    pub(crate) fn get(&self, id: &str) -> Option<&Object> {
        self.objects.get(id)
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Object> {
        self.objects.get_mut(id)
    }

    /// Puts a new object into the collection `place` (a path, such as `/v1/charges`).
    pub(crate) fn insert(
        &mut self,
        place: &str,
        id: &str,
        fields: Map<String, Value>,
        card: Option<Card>,
    ) {
        self.remove(id);
        self.seq += 1;
        let seq = self.seq;
        self.places.entry(place.to_owned()).or_default().insert(seq, id.to_owned());
        let place = place.to_owned();
        self.objects.insert(id.to_owned(), Object { fields, card, place, seq });
    }

    /// Takes an object away.
    pub(crate) fn remove(&mut self, id: &str) -> Option<Object> {
        let object = self.objects.remove(id)?;
        if let Some(ids) = self.places.get_mut(&object.place) {
            ids.remove(&object.seq);
        }
        Some(object)
    }

    /// The objects of a collection, newest first; only those older than `after`, if it is given.
    /// `None` if there is no object `after`.
    pub(crate) fn list<'a>(
        &'a self,
        place: &str,
        after: Option<&str>,
    ) -> Option<impl Iterator<Item = &'a Object>> {
        let end = match after {
            Some(id) => self.objects.get(id)?.seq,
            None => u64::MAX,
        };
        let ids = self.places.get(place).into_iter();
        Some(
            ids.flat_map(move |ids| ids.range(..end).rev())
                .filter_map(|(_, id)| self.objects.get(id)),
        )
    }

    /// What is available in this currency.
    pub(crate) fn balance(&self, currency: &str) -> i64 {
        self.balance.get(currency).copied().unwrap_or(STARTING_BALANCE)
    }

    /// The currencies in which money has moved, with what is available in each.
    pub(crate) fn balances(&self) -> &BTreeMap<String, i64> {
        &self.balance
    }

    /// Adds to the balance, or takes away from it.
    pub(crate) fn book(&mut self, currency: &str, amount: i64) {
        let balance = self.balance(currency).saturating_add(amount);
        self.balance.insert(currency.to_owned(), balance);
    }
}
