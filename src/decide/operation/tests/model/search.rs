//! Breadth-first search over hashed states, so that the first trace of a violation is a shortest.

use std::collections::{HashSet, VecDeque};
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};

use super::state::State;
use super::{Model, Step};

/// What a search found.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) states: usize,
    pub(super) transitions: usize,
    pub(super) depth: usize,
    /// From how many states the fault-free end was tried.
    pub(super) continued: usize,
    pub(super) violation: Option<Violation>,
    /// The bound on states was reached.
    pub(super) cut: bool,
}

#[derive(Debug)]
pub(super) struct Violation {
    pub(super) what: String,
    pub(super) length: usize,
    pub(super) trace: String,
}

struct Node {
    parent: usize,
    step: Option<Step>,
    depth: usize,
}

/// A digest of a state: two that differ do not meet.
fn digest(state: &State) -> u128 {
    let mut bytes = Bytes(Vec::with_capacity(1024));
    state.hash(&mut bytes);
    let digest = Sha256::digest(&bytes.0);
    u128::from_be_bytes(digest[..16].try_into().unwrap())
}

/// What is hashed, as it is: one digest of it all is cheaper than many small ones.
struct Bytes(Vec<u8>);

impl Hasher for Bytes {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// Explores all that can be reached, or `most` states; ends at the first violation.
pub(super) fn explore(model: &Model, most: usize) -> Report {
    let mut seen: HashSet<u128> = HashSet::new();
    let mut nodes = vec![Node { parent: 0, step: None, depth: 0 }];
    let mut queue = VecDeque::from([(model.initial(), 0)]);
    let mut report = Report { states: 1, ..Report::default() };
    seen.insert(digest(&model.initial()));
    while let Some((state, number)) = queue.pop_front() {
        let depth = nodes[number].depth;
        report.depth = report.depth.max(depth);
        if model.quiet(&state) {
            report.continued += 1;
            if let Err((what, steps)) = model.ends_well(&state) {
                let mut all = path(&nodes, number);
                let length = all.len();
                all.extend(steps);
                report.violation = Some(told(model, what, &all, length));
                return report;
            }
        }
        for step in model.steps(&state) {
            report.transitions += 1;
            match model.apply(&state, step) {
                Ok(next) => {
                    if !seen.insert(digest(&next)) {
                        continue;
                    }
                    if report.states >= most {
                        report.cut = true;
                        return report;
                    }
                    report.states += 1;
                    nodes.push(Node { parent: number, step: Some(step), depth: depth + 1 });
                    queue.push_back((next, nodes.len() - 1));
                }
                Err(what) => {
                    let mut all = path(&nodes, number);
                    all.push(step);
                    report.violation = Some(told(model, what, &all, all.len()));
                    return report;
                }
            }
        }
    }
    report
}

fn path(nodes: &[Node], mut number: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    while let Some(step) = nodes[number].step {
        steps.push(step);
        number = nodes[number].parent;
    }
    steps.reverse();
    steps
}

/// Walks the trace again, with words.
fn told(model: &Model, what: String, steps: &[Step], length: usize) -> Violation {
    let mut trace = String::new();
    let mut state = model.initial();
    for (n, step) in steps.iter().enumerate() {
        model.notes.borrow_mut().replace(Vec::new());
        let next = model.apply(&state, *step);
        let notes = model.notes.borrow_mut().take().unwrap_or_default();
        if n == length {
            trace.push_str("  --- from here on without faults ---\n");
        }
        writeln!(trace, "  {:>3}. {step:?}: {}", n + 1, notes.join("; ")).unwrap();
        match next {
            Ok(next) => state = next,
            Err(_violation) => break,
        }
    }
    Violation { what, length, trace }
}
