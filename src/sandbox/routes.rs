//! Which operation a request asks for, out of `config/operations.tsv`.
//!
//! The handler of each is looked up once, when the table is read.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use http::Method;

use super::objects::{self, Handler};

static OPERATIONS: &str = include_str!("../../config/operations.tsv");
static TABLE: LazyLock<Node> = LazyLock::new(|| build(OPERATIONS));

/// One operation.
#[derive(Debug)]
pub(crate) struct Route {
    /// `POST /v1/charges/{charge}`.
    pub(crate) operation: String,
    /// The literal segments' kind: `POST /v1/charges/{}`.
    pub(crate) shape: String,
    /// What executes it.
    pub(crate) handler: Handler,
}

#[derive(Debug, Default)]
struct Node {
    literal: HashMap<&'static str, Node>,
    any: Option<Box<Node>>,
    routes: HashMap<Method, Route>,
}

/// The operation of `method` on these decoded path segments, and the segments that stand in its
/// braces.
pub(crate) fn find<'a>(
    method: &Method,
    segments: &'a [String],
) -> Option<(&'static Route, Vec<&'a str>)> {
    let mut ids = Vec::new();
    let route = walk(&TABLE, method, segments, &mut ids)?;
    Some((route, ids))
}

/// Literal segments win over braces; what does not lead to the method is given up again.
fn walk<'a>(
    node: &'static Node,
    method: &Method,
    segments: &'a [String],
    ids: &mut Vec<&'a str>,
) -> Option<&'static Route> {
    let [first, rest @ ..] = segments else { return node.routes.get(method) };
    let literal = node.literal.get(first.as_str());
    if let Some(found) = literal.and_then(|next| walk(next, method, rest, ids)) {
        return Some(found);
    }
    let any = node.any.as_deref().filter(|_| !first.is_empty())?;
    ids.push(first);
    let found = walk(any, method, rest, ids);
    if found.is_none() {
        ids.pop();
    }
    found
}

fn build(table: &'static str) -> Node {
    let lines: Vec<(&str, &str)> = table
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(method, rest)| (method, rest.split('\t').next().unwrap_or(rest)))
        .filter(|(_, path)| path.starts_with('/'))
        .collect();
    let shapes: HashSet<String> =
        lines.iter().map(|(method, path)| format!("{method} {}", shape(path))).collect();
    let mut root = Node::default();
    for (method, path) in lines {
        let Ok(method) = Method::from_bytes(method.as_bytes()) else { continue };
        let operation = format!("{method} {path}");
        let shape = format!("{method} {}", shape(path));
        let handler = objects::handler(&shape, &shapes);
        let node = path.split('/').skip(1).fold(&mut root, |node, segment| {
            if segment.starts_with('{') {
                node.any.get_or_insert_with(Box::default)
            } else {
                node.literal.entry(segment).or_default()
            }
        });
        node.routes.entry(method).or_insert(Route { operation, shape, handler });
    }
    root
}

fn shape(path: &str) -> String {
    path.split('/')
        .map(|segment| if segment.starts_with('{') { "{}" } else { segment })
        .collect::<Vec<_>>()
        .join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_in(method: &Method, path: &str) -> Option<(String, Vec<String>)> {
        let segments: Vec<String> = path.split('/').skip(1).map(str::to_owned).collect();
        find(method, &segments).map(|(route, ids)| {
            (route.operation.clone(), ids.into_iter().map(Into::into).collect())
        })
    }

    #[test]
    fn every_listed_operation_is_found_again_under_its_own_template() {
        let lines = OPERATIONS.lines().skip(1).filter_map(|line| {
            let mut columns = line.split('\t');
            Some((columns.next()?, columns.next()?))
        });
        for (method, path) in lines {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let found = find_in(&method, path).unwrap();
            assert_eq!(shape(&found.0), shape(&format!("{method} {path}")));
        }
    }

    #[test]
    fn a_literal_segment_wins_over_an_id() {
        let (operation, ids) = find_in(&Method::GET, "/v1/charges/search").unwrap();
        assert_eq!((operation.as_str(), ids.len()), ("GET /v1/charges/search", 0));
    }

    #[test]
    fn what_is_not_listed_is_not_found() {
        assert_eq!(find_in(&Method::POST, "/v1/chargers"), None);
        assert_eq!(find_in(&Method::PUT, "/v1/charges"), None);
        assert_eq!(find_in(&Method::GET, "/v1/charges//capture"), None);
    }
}
