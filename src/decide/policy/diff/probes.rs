//! The requests by which two policies are compared: few, and yet all that there are.
//!
//! A request whose rule differs between the policies is matched first by one pattern of the old
//! policy (or none) and by one of the new (or none), so that it lies where the two overlap. There
//! it is enough to ask for the most general request, whose free segments are placeholders: whatever
//! pattern matches those matches every request there, so that nothing comes first for the general
//! one that does not come first for all. Where an overlap ends in `**` every length is asked for up
//! to one more than any pattern has; that one stands for all longer ones.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use http::Method;

use super::super::operations;
use super::super::template::{METHODS, Methods, Pattern, Segment};
use super::super::{Policy, Rule};
use super::Requests;

/// Policies that overlap more than this are not compared to the end; the shipped one has some 150.
const MOST_OVERLAPS: usize = 20_000;

/// What stands for any segment; no literal one holds a brace.
const ANY: &str = "{id}";

/// Requests, and the rules that they fall to.
pub(super) struct Probe<'a> {
    pub(super) requests: Requests,
    pub(super) old: &'a Arc<Rule>,
    pub(super) new: &'a Arc<Rule>,
}

/// Stripe's operations first, then what else tells the policies apart; and whether some of that was
/// left out.
pub(super) fn all<'a>(old: &'a Policy, new: &'a Policy) -> (Vec<Probe<'a>>, bool) {
    let mut asked = Asked { old, new, seen: HashSet::new(), probes: Vec::new() };
    let mut longest = 0;
    for operation in operations::all() {
        let segments = operation.segments();
        longest = longest.max(segments.len());
        asked.ask(&operation.method, segments, Some(operation.path));
    }
    let shapes = overlaps(old, new);
    longest = shapes.iter().map(|shape| shape.segments.len()).fold(longest, usize::max);
    for shape in shapes.iter().take(MOST_OVERLAPS) {
        for method in shape.methods() {
            asked.ask_shape(&method, shape, longest);
        }
    }
    (asked.probes, shapes.len() > MOST_OVERLAPS)
}

struct Asked<'a> {
    old: &'a Policy,
    new: &'a Policy,
    seen: HashSet<(Method, String)>,
    probes: Vec<Probe<'a>>,
}

impl<'a> Asked<'a> {
    fn judged(&self, method: &Method, segments: &[&str]) -> (&'a Arc<Rule>, &'a Arc<Rule>) {
        (self.old.falls_to(method, segments), self.new.falls_to(method, segments))
    }

    /// Asks for one length, unless it was asked for already; `path` is how Stripe writes it.
    fn ask(&mut self, method: &Method, segments: &[&str], path: Option<&str>) {
        let general = segments.iter().map(|it| if it.starts_with('{') { ANY } else { it });
        let general = format!("/{}", general.collect::<Vec<_>>().join("/"));
        if !self.seen.insert((method.clone(), general.clone())) {
            return;
        }
        let (old, new) = self.judged(method, segments);
        let requests = Requests {
            is_published: path.is_some(),
            method: method.to_string(),
            path: path.map_or(general, str::to_owned),
        };
        self.probes.push(Probe { requests, old, new });
    }

    /// Asks for every length of a template; those beyond which all are alike are told as `**`.
    fn ask_shape(&mut self, method: &Method, shape: &Shape<'_>, longest: usize) {
        let mut segments = shape.texts();
        if !shape.tail {
            return self.ask(method, &segments, None);
        }
        let beyond = (longest + 1).max(segments.len() + 1);
        let shortest = segments.len() + 1;
        segments.resize(beyond, ANY);
        let (old, new) = self.judged(method, &segments);
        let alike = |other: (&Arc<Rule>, &Arc<Rule>)| {
            Arc::ptr_eq(old, other.0) && Arc::ptr_eq(new, other.1)
        };
        let path =
            format!("/{}", shape.texts().into_iter().chain(["**"]).collect::<Vec<_>>().join("/"));
        if self.seen.insert((method.clone(), path.clone())) {
            let requests = Requests { is_published: false, method: method.to_string(), path };
            self.probes.push(Probe { requests, old, new });
        }
        for length in shortest..beyond {
            let shorter = segments.get(..length).unwrap_or_default();
            if !alike(self.judged(method, shorter)) {
                self.ask(method, shorter, None);
            }
        }
    }
}

/// A template, or what two of them have in common.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Shape<'a> {
    method: Option<&'a Method>,
    segments: Vec<Option<&'a str>>,
    tail: bool,
}

impl<'a> Shape<'a> {
    fn of(pattern: &'a Pattern) -> Self {
        let method = match &pattern.methods {
            Methods::Any => None,
            Methods::One(method) => Some(method),
        };
        let segments = pattern.segments.iter().map(|segment| match segment {
            Segment::Literal(text) => Some(&**text),
            Segment::One => None,
        });
        Self { method, segments: segments.collect(), tail: pattern.tail }
    }

    /// The requests that both match, if there are any.
    fn meet(&self, other: &Self) -> Option<Self> {
        let (short, long) =
            if self.segments.len() <= other.segments.len() { (self, other) } else { (other, self) };
        let lengths = match (short.segments.len() == long.segments.len(), short.tail, long.tail) {
            (true, one, two) => one == two,
            (false, tail, _) => tail,
        };
        let method = match (self.method, other.method) {
            (Some(one), Some(two)) if one != two => return None,
            (one, two) => one.or(two),
        };
        let mut pairs = self.segments.iter().zip(&other.segments);
        if !lengths || pairs.any(|(one, two)| one.is_some() && two.is_some() && one != two) {
            return None;
        }
        let mut segments = long.segments.clone();
        for (mine, theirs) in segments.iter_mut().zip(&short.segments) {
            *mine = mine.or(*theirs);
        }
        Some(Self { method, segments, tail: long.tail })
    }

    fn texts(&self) -> Vec<&'a str> {
        self.segments.iter().map(|segment| segment.unwrap_or(ANY)).collect()
    }

    fn methods(&self) -> Vec<Method> {
        match self.method {
            Some(method) => vec![method.clone()],
            None => {
                METHODS.iter().filter_map(|it| Method::from_bytes(it.as_bytes()).ok()).collect()
            }
        }
    }

    /// By what templates that have nothing in common are told apart at once: most differ in their
    /// second segment.
    fn key(&self) -> Option<&'a str> {
        self.segments.get(1).copied().flatten()
    }
}

/// Every template of either policy, and what each of the old one has in common with each of the
/// new one; at most one more than [`MOST_OVERLAPS`].
fn overlaps<'a>(old: &'a Policy, new: &'a Policy) -> Vec<Shape<'a>> {
    let shapes = |policy: &'a Policy| -> Vec<Shape<'a>> {
        policy.rules().iter().flat_map(|rule| &rule.patterns).map(Shape::of).collect()
    };
    let (old, new) = (shapes(old), shapes(new));
    let mut by_key: HashMap<Option<&str>, Vec<&Shape<'a>>> = HashMap::new();
    for shape in &new {
        by_key.entry(shape.key()).or_default().push(shape);
    }
    let mut found: Vec<Shape<'a>> = Vec::new();
    let mut seen = HashSet::new();
    let mut add = |shape: Shape<'a>| {
        if found.len() <= MOST_OVERLAPS && seen.insert(shape.clone()) {
            found.push(shape);
        }
        found.len() <= MOST_OVERLAPS
    };
    let alone = old.iter().chain(&new).cloned();
    if !alone.into_iter().all(&mut add) {
        return found;
    }
    for shape in &old {
        let near: Vec<&Shape<'_>> = match shape.key() {
            None => new.iter().collect(),
            key => [key, None].iter().filter_map(|it| by_key.get(it)).flatten().copied().collect(),
        };
        if !near.into_iter().filter_map(|other| shape.meet(other)).all(&mut add) {
            break;
        }
    }
    found
}
