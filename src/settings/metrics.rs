//! The settings of what is measured.

use std::time::Duration;

use super::reader::Reader;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Metrics {
    /// How often the store is asked what is open.
    pub survey_interval: Duration,
}

/// Reads them.
pub(super) fn read(r: &mut Reader) -> Metrics {
    let bounds = Duration::from_secs(5)..=Duration::from_mins(10);
    Metrics { survey_interval: r.duration("metrics.survey_interval", bounds) }
}
