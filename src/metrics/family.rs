//! Metrics by label whose number of series is bounded.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Most series of one metric. Labels come from the policy and from this code, never from a
/// request, so that only a policy with more rules than this is folded into "other".
const MOST_SERIES: usize = 256;

/// A label's value: fixed in the code, or a name from the policy.
pub(super) type Value<'a> = Cow<'a, str>;

type Labels<const N: usize> = [(&'static str, Cow<'static, str>); N];

/// A number that goes up and down.
pub(super) type Level = Gauge<f64, AtomicU64>;

/// Counts events by `N` labels.
pub(super) type Counters<const N: usize> = Bounded<N, Counter, fn() -> Counter>;

/// Notes how long something took, by `N` labels.
pub(super) type Durations<const N: usize> = Bounded<N, Histogram, fn() -> Histogram>;

/// A family of metrics that stops growing.
pub(super) struct Bounded<const N: usize, M, C> {
    names: [&'static str; N],
    family: Family<Labels<N>, M, C>,
    series: Arc<AtomicUsize>,
}

impl<const N: usize> Counters<N> {
    pub(super) fn register(
        registry: &mut Registry,
        name: &str,
        help: &str,
        names: [&'static str; N],
    ) -> Self {
        let family: Family<_, _, fn() -> Counter> = Family::new_with_constructor(Counter::default);
        registry.register(name, help, Named(family.clone()));
        Self { names, family, series: Arc::default() }
    }

    /// Shows a series before its first event, so that a rate over it has a beginning.
    pub(super) fn expect(&self, values: [Value<'_>; N]) {
        let (labels, _own) = self.labels(values);
        self.family.get_or_create(&labels).inc_by(0);
    }

    /// The series itself, to count many events of one kind. False if it is that of "other".
    pub(super) fn series(&self, values: [Value<'_>; N]) -> (Counter, bool) {
        let (labels, own) = self.labels(values);
        (self.family.get_or_create_owned(&labels), own)
    }

    /// Counts one event. False if it had to be counted under "other".
    pub(super) fn add(&self, values: [Value<'_>; N]) -> bool {
        let (labels, own) = self.labels(values);
        self.family.get_or_create(&labels).inc();
        own
    }
}

impl<const N: usize> Durations<N> {
    /// Its name ends in `_seconds`, which is added here.
    pub(super) fn register(
        registry: &mut Registry,
        name: &str,
        help: &str,
        names: [&'static str; N],
        buckets: fn() -> Histogram,
    ) -> Self {
        let family = Family::new_with_constructor(buckets);
        registry.register_with_unit(name, help, Unit::Seconds, Named(family.clone()));
        Self { names, family, series: Arc::default() }
    }

    /// Notes one duration. False if it had to be noted under "other".
    pub(super) fn observe(&self, values: [Value<'_>; N], took: Duration) -> bool {
        let (labels, own) = self.labels(values);
        self.family.get_or_create(&labels).observe(took.as_secs_f64());
        own
    }
}

impl<const N: usize, M: Clone, C: MetricConstructor<M>> Bounded<N, M, C> {
    /// The labels to use, and whether they are those of `values`.
    fn labels(&self, values: [Value<'_>; N]) -> (Labels<N>, bool) {
        let mut values = values.into_iter();
        let labels = self.names.map(|name| {
            (name, Cow::Owned(values.next().unwrap_or(Cow::Borrowed("")).into_owned()))
        });
        // The guard of `get` ends with this statement: `get_or_create` would wait for it.
        let known = self.family.get(&labels).is_some();
        // Two threads that meet here with one new label count it twice: a little less room.
        if known || self.series.fetch_add(1, Ordering::Relaxed) < MOST_SERIES {
            return (labels, true);
        }
        (self.names.map(|name| (name, Cow::Borrowed("other"))), false)
    }
}

/// A family whose name, type and meaning are on the page from the start, before its first series.
#[derive(Debug)]
struct Named<F>(F);

impl<F: EncodeMetric> EncodeMetric for Named<F> {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        self.0.metric_type()
    }
}

/// Numbers by `N` labels that are all found out at once, so that a series goes when what it told of
/// is gone.
pub(super) struct Levels<const N: usize> {
    names: [&'static str; N],
    family: Family<Labels<N>, Level>,
    shown: Mutex<BTreeSet<[String; N]>>,
}

impl<const N: usize> Levels<N> {
    pub(super) fn register(
        registry: &mut Registry,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        names: [&'static str; N],
    ) -> Self {
        let family = Family::default();
        let all = Named(family.clone());
        match unit {
            Some(unit) => registry.register_with_unit(name, help, unit, all),
            None => registry.register(name, help, all),
        }
        Self { names, family, shown: Mutex::default() }
    }

    /// Shows these series and no others: at most [`MOST_SERIES`], whoever finds out more has to add
    /// them up.
    pub(super) fn show(&self, found: BTreeMap<[String; N], f64>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let mut now = BTreeSet::new();
        // What is new stands before what is gone goes: no scrape falls between the two.
        for (values, level) in found.into_iter().take(MOST_SERIES) {
            self.family.get_or_create(&self.labels(&values)).set(level);
            now.insert(values);
        }
        for gone in shown.difference(&now) {
            self.family.remove(&self.labels(gone));
        }
        *shown = now;
    }

    fn labels(&self, values: &[String; N]) -> Labels<N> {
        let mut values = values.iter();
        self.names.map(|name| (name, Cow::Owned(values.next().cloned().unwrap_or_default())))
    }
}
