//! What the runs came to, left in `target/proof/model.json` for the page of results.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::{Map, Value};

/// One test at a time.
static FILE: Mutex<()> = Mutex::new(());

/// Adds `fields` to what is left.
pub(super) fn leave<const N: usize>(fields: [(&str, Value); N]) {
    let _file = FILE.lock().unwrap();
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let directory = target.unwrap_or_else(own).join("proof");
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("model.json");
    let before = std::fs::read(&path).ok();
    let mut all: Map<String, Value> =
        before.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    all.insert("title".to_owned(), "The model".into());
    all.insert("command".to_owned(), "cargo test --lib model -- --nocapture".into());
    for (name, value) in fields {
        all.insert(name.to_owned(), value);
    }
    let lines = ["model", "mistakes"].map(|name| all.get(&format!("line of {name}")).cloned());
    all.insert("found".to_owned(), lines.into_iter().flatten().collect());
    std::fs::write(path, serde_json::to_vec_pretty(&all).unwrap()).unwrap();
}
