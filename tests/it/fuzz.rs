//! The corpora of the fuzz targets, replayed on stable through the same properties, and inputs
//! near to them. How they came about, and how to look for more, stands in `fuzz/README.md`.
//!
//! `FUZZ_CASES` says how many changed inputs are tried.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

use self::properties::TARGETS;

#[path = "../../fuzz/src/lib.rs"]
mod properties;

const FUZZ: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz");

/// What all corpora together may weigh: they are for people to look at, too.
const MAX_FILES: usize = 250;
const MAX_BYTES: usize = 320 * 1024;

/// The kept inputs of one target, in the order of their names. None is an error.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(FUZZ).join("corpus").join(target);
    let entries =
        fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", directory.display());
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn names(directory: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(Path::new(FUZZ).join(directory)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn every_kept_input_of_the_fuzz_targets_still_holds() {
    let (mut files, mut bytes, mut broken) = (0, 0, Vec::new());
    for (target, check) in TARGETS {
        for (path, input) in corpus(target) {
            let held = catch_unwind(AssertUnwindSafe(|| check(&input)));
            if held.is_err() {
                broken.push(path);
            }
            (files, bytes) = (files + 1, bytes + input.len());
        }
    }
    assert!(broken.is_empty(), "these do not hold: {broken:#?}");
    assert!(files <= MAX_FILES && bytes <= MAX_BYTES, "{files} files, {bytes} bytes");
    let told = format!("fuzz corpora: {files} files, {} targets\n", TARGETS.len());
    // Past the capture of libtest: it is to be read in every run.
    std::io::stdout().write_all(told.as_bytes()).unwrap();
}

#[test]
fn every_fuzz_target_has_its_property_its_corpus_and_its_binary() {
    let known: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("corpus"), known);
    assert_eq!(names("fuzz_targets"), known);
    let manifest = fs::read_to_string(Path::new(FUZZ).join("Cargo.toml")).unwrap();
    for name in known {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
}

/// A change of an input.
#[derive(Clone, Debug)]
enum Edit {
    Set(Index, u8),
    Insert(Index, u8),
    Remove(Index, usize),
    /// A piece of it once more, elsewhere.
    Copy(Index, Index, usize),
}

impl Edit {
    fn apply(&self, input: &mut Vec<u8>) {
        let length = input.len() + 1;
        let end = |from: usize, count: usize| (from + count).min(length - 1);
        match *self {
            Self::Set(at, byte) => {
                if let Some(place) = input.get_mut(at.index(length)) {
                    *place = byte;
                }
            }
            Self::Insert(at, byte) => input.insert(at.index(length), byte),
            Self::Remove(at, count) => {
                let at = at.index(length);
                input.drain(at..end(at, count));
            }
            Self::Copy(from, to, count) => {
                let from = from.index(length);
                let piece = input[from..end(from, count)].to_vec();
                let to = to.index(length);
                input.splice(to..to, piece);
            }
        }
    }
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let byte = || prop_oneof![4 => prop::sample::select(b" \n\r\t%+&=[]{}?;:,\"'\\/.-_0129aAxz\x00\xc3\xa9".to_vec()), 1 => any::<u8>()];
    let edit = prop_oneof![
        (any::<Index>(), byte()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        (any::<Index>(), byte()).prop_map(|(at, byte)| Edit::Insert(at, byte)),
        (any::<Index>(), 1..20_usize).prop_map(|(at, count)| Edit::Remove(at, count)),
        (any::<Index>(), any::<Index>(), 1..40_usize)
            .prop_map(|(from, to, count)| Edit::Copy(from, to, count)),
    ];
    prop::collection::vec(edit, 1..6)
}

#[test]
fn inputs_near_to_the_kept_ones_hold_too() {
    let cases = std::env::var("FUZZ_CASES").map_or(4000, |cases| cases.parse().unwrap());
    let inputs: Vec<_> = TARGETS
        .iter()
        .flat_map(|(name, check)| corpus(name).into_iter().map(|file| (*name, *check, file.1)))
        .collect();
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let strategy = (any::<Index>(), edits());
    let tried = TestRunner::new(config).run(&strategy, |(at, edits)| {
        let (name, check, mut input) = inputs[at.index(inputs.len())].clone();
        for edit in &edits {
            edit.apply(&mut input);
        }
        let held = catch_unwind(AssertUnwindSafe(|| check(&input)));
        prop_assert!(held.is_ok(), "{name}: b\"{}\"", input.escape_ascii());
        Ok(())
    });
    tried.unwrap();
}
