//! Counters by label whose number of series is bounded.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Most series of one metric. Labels come from the policy and from this code, never from a
/// request, so that only a policy with more rules than this is folded into "other".
const MOST_SERIES: usize = 256;

/// A label's value: fixed in the code, or a name from the policy.
pub(super) type Value<'a> = Cow<'a, str>;

type Labels<const N: usize> = [(&'static str, Cow<'static, str>); N];

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
        registry.register(name, help, family.clone());
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
    pub(super) fn register(
        registry: &mut Registry,
        name: &str,
        help: &str,
        names: [&'static str; N],
        buckets: fn() -> Histogram,
    ) -> Self {
        let family = Family::new_with_constructor(buckets);
        registry.register(name, help, family.clone());
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
