//! The switches: which point is fatal, which mistake is made. Set once for a process, from its
//! environment, or for one thread by a test that runs payonce within itself.
//!
//! - `PAYONCE_SEAM_KILL=<point>:<n>`: the n-th passing of the point ends the process at once.
//! - `PAYONCE_SEAM_TRACE=1`: each point that is passed is told on standard error.
//! - `PAYONCE_SEAM_MISTAKE=<name>`: the mistake is made.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Mistake, Point};

const KILL: &str = "PAYONCE_SEAM_KILL";
const TRACE: &str = "PAYONCE_SEAM_TRACE";
const MISTAKE: &str = "PAYONCE_SEAM_MISTAKE";

static FATAL: OnceLock<Fatal> = OnceLock::new();
static TRACED: OnceLock<()> = OnceLock::new();
static MADE: OnceLock<Mistake> = OnceLock::new();

thread_local! {
    static PLANTED: Cell<Option<Mistake>> = const { Cell::new(None) };
}

struct Fatal {
    point: Point,
    /// How many passings are left.
    left: AtomicU32,
}

/// Whether a variable is one of the switches, and so no setting.
#[must_use]
pub fn is_switch(name: &OsStr) -> bool {
    [KILL, TRACE, MISTAKE].iter().any(|known| name == *known)
}

/// Sets the switches of this process, once, at its start.
///
/// # Errors
/// Says which value is none: a misspelt switch would make a proof that proves nothing.
pub fn arm(env: impl IntoIterator<Item = (OsString, OsString)>) -> Result<(), String> {
    for (name, value) in env {
        let value = value.to_string_lossy();
        let bad = || format!("{}: {value:?} is no value of it", name.to_string_lossy());
        if name == KILL {
            let (point, n) = value.split_once(':').ok_or_else(bad)?;
            let point = Point::of_name(point).ok_or_else(bad)?;
            let left = n.parse::<u32>().ok().filter(|n| *n > 0).ok_or_else(bad)?;
            FATAL.get_or_init(|| Fatal { point, left: AtomicU32::new(left) });
        } else if name == TRACE {
            TRACED.get_or_init(|| ());
        } else if name == MISTAKE {
            let mistake = Mistake::of_name(&value).ok_or_else(bad)?;
            MADE.get_or_init(|| mistake);
        }
    }
    Ok(())
}

/// The journey passes `point`: the process may end here, as with SIGKILL. Nothing is dropped,
/// flushed or said.
pub fn point(point: Point) {
    if TRACED.get().is_some() {
        eprintln!("seam {}", point.as_str());
    }
    if let Some(fatal) = FATAL.get()
        && fatal.point == point
        && fatal.left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        std::process::abort();
    }
}

/// Whether this mistake is to be made.
#[must_use]
pub fn mistake(mistake: Mistake) -> bool {
    PLANTED.get() == Some(mistake) || MADE.get() == Some(&mistake)
}

/// Has this thread make a mistake for as long as what is returned lives.
pub fn with_mistake(mistake: Mistake) -> Planted {
    Planted { before: PLANTED.replace(Some(mistake)), _of_this_thread: PhantomData }
}

/// A mistake that is being made by this thread.
#[must_use = "the mistake is no longer made when this is dropped"]
pub struct Planted {
    before: Option<Mistake>,
    _of_this_thread: PhantomData<*const ()>,
}

impl Drop for Planted {
    fn drop(&mut self) {
        PLANTED.set(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_made_by_this_thread_alone_and_only_for_a_while() {
        let planted = with_mistake(Mistake::LeaseIgnored);
        assert!(mistake(Mistake::LeaseIgnored) && !mistake(Mistake::EpochFromNow));
        assert!(!std::thread::spawn(|| mistake(Mistake::LeaseIgnored)).join().unwrap());
        drop(planted);
        assert!(!mistake(Mistake::LeaseIgnored));
    }

    #[test]
    fn every_point_and_mistake_is_found_by_its_name() {
        assert!(Point::ALL.iter().all(|it| Point::of_name(it.as_str()) == Some(*it)));
        assert!(Mistake::ALL.iter().all(|it| Mistake::of_name(it.as_str()) == Some(*it)));
    }

    #[test]
    fn a_misspelt_switch_is_refused() {
        for (name, value) in
            [(KILL, "claimed"), (KILL, "claimd:1"), (KILL, "claimed:0"), (MISTAKE, "none")]
        {
            assert!(arm([(name.into(), value.into())]).unwrap_err().contains(name));
        }
        assert!(is_switch(OsStr::new(KILL)) && !is_switch(OsStr::new("PAYONCE_MODE")));
    }
}
