//! This process: its build, and what the system tells of it, asked at each scrape.
//!
//! The names are those of every Prometheus client. The system is Linux's `/proc`; where that is not
//! there, these metrics are not either.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::family::Levels;

/// Ticks a second in `/proc`: `USER_HZ`, a part of Linux's interface on all of its machines that
/// payonce is built for.
const TICKS: f64 = 100.0;

/// What payonce was built from, where the build says so.
const REVISION: Option<&str> = option_env!("PAYONCE_REVISION");

/// Registers what does not change, and what is asked for at each scrape.
pub(super) fn register(all: &mut Registry) {
    all.register_collector(Box::new(System));
    let r = all.sub_registry_with_prefix("payonce");
    let help = "What runs here: the version of payonce, and what it was built from";
    let build = Levels::register(r, "build_info", help, None, ["version", "revision"]);
    let labels = [env!("CARGO_PKG_VERSION"), REVISION.unwrap_or_default()].map(str::to_owned);
    build.show(BTreeMap::from([(labels, 1.0)]));
}

#[derive(Debug)]
struct System;

impl Collector for System {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        let read = |file| fs::read_to_string(format!("/proc/{file}")).ok();
        let (stat, boot) = (read("self/stat"), read("stat"));
        let stat = stat.as_deref();
        let started = stat.zip(boot.as_deref()).and_then(|(stat, boot)| started(stat, boot));
        let resident = read("self/status").as_deref().and_then(resident);
        let most = read("self/limits").as_deref().and_then(most_files);
        let mut gauge = |name, help, unit: Option<&Unit>, value: Option<f64>| match value {
            Some(value) => {
                let value = ConstGauge::new(value);
                value.encode(to.encode_descriptor(name, help, unit, value.metric_type())?)
            }
            None => Ok(()),
        };
        let (seconds, bytes) = (Some(&Unit::Seconds), Some(&Unit::Bytes));
        gauge("process_start_time", "When this process started", seconds, started)?;
        gauge("process_resident_memory", "Memory that it holds", bytes, resident)?;
        gauge("process_open_fds", "Open file descriptors", None, open_files())?;
        gauge("process_max_fds", "Most open file descriptors", None, most)?;
        let Some(used) = stat.and_then(processor) else { return Ok(()) };
        let (used, help) = (ConstCounter::new(used), "Processor time that it has used");
        used.encode(to.encode_descriptor("process_cpu", help, seconds, used.metric_type())?)
    }
}

/// The fields of `/proc/self/stat` from the third on: the second is a name that may hold anything.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_name, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn processor(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) / TICKS)
}

fn started(stat: &str, boot: &str) -> Option<f64> {
    let booted: f64 = value(boot, "btime")?.parse().ok()?;
    Some(booted + field(stat, 22)? / TICKS)
}

fn resident(status: &str) -> Option<f64> {
    let kib: f64 = value(status, "VmRSS:")?.parse().ok()?;
    Some(kib * 1024.0)
}

/// The soft limit; none if there is none.
fn most_files(limits: &str) -> Option<f64> {
    value(limits, "Max open files")?.parse().ok()
}

/// The first word after `name` on the line that begins with it.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()
}

/// The directory itself is open while it is read.
fn open_files() -> Option<f64> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
    u32::try_from(open).ok().map(f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_from_what_linux_tells_whatever_its_name_is() {
        let stat = "1234 (pay) once) S 1 2 3 4 5 6 7 8 9 10 250 150 0 0 20 0 8 0 360000 1 2";
        assert_eq!(processor(stat), Some(4.0));
        assert_eq!(started(stat, "cpu 1 2\nbtime 1790000000\nprocesses 3"), Some(1_790_003_600.0));
        assert_eq!(resident("VmPeak:\t 9 kB\nVmRSS:\t  2048 kB\n"), Some(2_097_152.0));
        assert_eq!(most_files("Max open files            1024   4096   files\n"), Some(1024.0));
        assert_eq!(most_files("Max open files            unlimited   unlimited   files\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_a_start_and_memory_and_files() {
        let mut all = Registry::default();
        register(&mut all);
        let mut out = String::new();
        prometheus_client::encoding::text::encode(&mut out, &all).unwrap();
        for name in [
            "process_start_time_seconds ",
            "process_resident_memory_bytes ",
            "process_open_fds ",
            "process_max_fds ",
            "process_cpu_seconds_total ",
        ] {
            let value = out.lines().find_map(|line| line.strip_prefix(name));
            let value: f64 =
                value.unwrap_or_else(|| panic!("no {name} in\n{out}")).parse().unwrap();
            assert!(value.is_finite() && value >= 0.0, "{name}{value}");
        }
    }
}
