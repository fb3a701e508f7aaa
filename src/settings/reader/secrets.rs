//! Secrets: never quoted, and from a file or the environment alone. A settings file is read by more
//! people than a secret may be.

use std::collections::BTreeSet;
use std::path::Path;

use config::ValueKind;

use super::Reader;
use crate::settings::layers::variable_of;
use crate::settings::secret::Secret;

impl Reader {
    /// A secret of at least `least` bytes: from the file that `file` names, or from the variable
    /// for `value`. No message shows what it holds.
    pub(in crate::settings) fn secret(
        &mut self,
        file: &'static str,
        value: &'static str,
        least: usize,
    ) -> Option<Secret> {
        let (path, secret) = self.given(file, value)?;
        self.strong(path, secret, least)
    }

    /// Secrets of at least `least` bytes, each from one of the files that `files` names with commas
    /// between them.
    pub(in crate::settings) fn secrets(
        &mut self,
        files: &'static str,
        least: usize,
    ) -> Vec<Secret> {
        let Some(paths) = self.optional(files, "paths with commas between them") else {
            return Vec::new();
        };
        let mut secrets = Vec::new();
        for path in paths.split(',').map(str::trim) {
            match Secret::from_file(Path::new(path)) {
                Ok(secret) => secrets.extend(self.strong(files, secret, least)),
                Err(error) => {
                    self.refuse(files, format!("names {path}, which cannot be read: {error}"));
                }
            }
        }
        secrets
    }

    /// A password that somebody else's server asks for, however weak, from the file that `file`
    /// names, or from the variable for `value`. No message shows what it holds.
    pub(in crate::settings) fn password(
        &mut self,
        file: &'static str,
        value: &'static str,
    ) -> Option<Secret> {
        let (path, secret) = self.given(file, value)?;
        if secret.is_empty() {
            self.refuse(path, "is empty");
        } else if std::str::from_utf8(secret.expose()).is_err() {
            self.refuse(path, "must be UTF-8 text");
        } else {
            return Some(secret);
        }
        None
    }

    /// A secret, and which of the two settings it came from.
    fn given(&mut self, file: &'static str, value: &'static str) -> Option<(&'static str, Secret)> {
        self.asked.insert(value);
        let from = self.path(file);
        // A table there is no value, and must not be overlooked.
        let table = self.layers.is_table(value).then_some(ValueKind::Nil);
        let inline = self.layers.value(value).cloned().or(table);
        match (from, inline) {
            (None, None) => None,
            (Some(_), Some(_)) => {
                self.refuse(value, format!("is set, and {file} too: one of them must go"));
                None
            }
            (Some(from), None) => match Secret::from_file(&from) {
                Ok(secret) => Some((file, secret)),
                Err(error) => {
                    self.refuse(file, format!("names a file that cannot be read: {error}"));
                    None
                }
            },
            (None, Some(ValueKind::String(text))) if self.is_variable(value) => {
                Some((value, Secret::new(text.into_bytes())))
            }
            (None, Some(_)) => {
                let variable = variable_of(value);
                self.refuse(
                    value,
                    format!("must not stand in the settings file: set {file} or {variable}"),
                );
                None
            }
        }
    }

    fn strong(&mut self, path: &str, secret: Secret, least: usize) -> Option<Secret> {
        let different: BTreeSet<_> = secret.expose().iter().collect();
        let (length, different) = (secret.len(), different.len());
        if length == 0 {
            self.refuse(path, "is empty");
        } else if length < least {
            self.refuse(path, format!("must be at least {least} bytes, is {length}"));
        } else if different < 8 {
            self.refuse(path, "repeats a few characters: make one with `payonce keygen`");
        } else {
            return Some(secret);
        }
        None
    }
}
