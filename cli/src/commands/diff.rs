//! `diff`: what a second bundle adds to a first, in bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bundle::model::Bundle;
use clap::Args;
use serde_json::{Value, json};

use crate::checked::check;
use crate::failure::Failure;
use crate::output::{Json, Output};
use crate::size::Size;
use crate::table::table;

/// Arguments of `diff`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The package (.dcos) that is there already
    first: PathBuf,
    /// The package that is compared with it
    second: PathBuf,
    #[command(flatten)]
    json: Json,
}

/// Compares.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (first, second) = (check(&arguments.first)?, check(&arguments.second)?);
    let changes = changes(&first, &second);
    Ok(Output::from(arguments.json).result(text(&changes, &second), &document(&changes, &first, &second))?)
}

/// A file or an image that is only in one of two bundles, or has other content in the second.
#[derive(Debug, Eq, PartialEq)]
struct Change {
    what: What,
    kind: &'static str,
    name: String,
    /// Bytes of it that the first does not have anywhere.
    bytes: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum What {
    Added,
    Changed,
    Removed,
}

impl What {
    const fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

/// Every blob of a bundle with its size.
fn blobs(bundle: &Bundle) -> BTreeMap<&str, u64> {
    let images = bundle.images.iter().flat_map(|image| image.manifests.iter().chain(&image.blobs));
    let images = images.map(|blob| (blob.digest.as_str(), blob.size));
    images.chain(bundle.files.iter().map(|file| (file.digest.as_str(), file.size))).collect()
}

/// What a file's name or an image's reference stands for.
#[derive(Default)]
struct Part<'a> {
    /// The digests that it is identified by; files of the same name are one part.
    identity: BTreeSet<&'a str>,
    /// Every blob that it consists of.
    content: BTreeSet<&'a str>,
}

/// By kind and name.
fn parts(bundle: &Bundle) -> BTreeMap<(&'static str, &str), Part<'_>> {
    let mut parts: BTreeMap<_, Part<'_>> = BTreeMap::new();
    for file in &bundle.files {
        let part = parts.entry(("file", file.name.as_str())).or_default();
        part.identity.insert(&file.digest);
        part.content.insert(&file.digest);
    }
    for image in &bundle.images {
        let part = parts.entry(("image", image.reference.as_str())).or_default();
        part.identity.insert(&image.target.digest);
        part.content.extend(image.manifests.iter().chain(&image.blobs).map(|blob| blob.digest.as_str()));
    }
    parts
}

fn changes(first: &Bundle, second: &Bundle) -> Vec<Change> {
    let (old, new) = (parts(first), parts(second));
    let known = blobs(first);
    let sizes = blobs(second);
    // What several share counts for the first of them.
    let mut counted = BTreeSet::new();
    let mut changes = Vec::new();
    for (&(kind, name), part) in &new {
        let what = match old.get(&(kind, name)) {
            Some(before) if before.identity == part.identity => continue,
            Some(_) => What::Changed,
            None => What::Added,
        };
        let fresh = part.content.iter().filter(|digest| !known.contains_key(*digest) && counted.insert(**digest));
        let bytes = fresh.filter_map(|digest| sizes.get(digest)).sum();
        changes.push(Change { what, kind, name: name.to_owned(), bytes });
    }
    for &(kind, name) in old.keys().filter(|part| !new.contains_key(*part)) {
        changes.push(Change { what: What::Removed, kind, name: name.to_owned(), bytes: 0 });
    }
    changes
}

fn text(changes: &[Change], second: &Bundle) -> String {
    let row = |change: &Change| {
        let bytes = if change.what == What::Removed { String::new() } else { Size(change.bytes).to_string() };
        [change.what.word().to_owned(), change.kind.to_owned(), bytes, change.name.clone()]
    };
    let rows: Vec<_> = changes.iter().map(row).collect();
    let added: u64 = changes.iter().map(|change| change.bytes).sum();
    let listed = if rows.is_empty() { String::new() } else { table(["CHANGE", "KIND", "ADDS", "NAME"], &rows) };
    format!("{listed}Adds {} ({added} bytes) of {}\n", Size(added), Size(second.size))
}

fn document(changes: &[Change], first: &Bundle, second: &Bundle) -> Value {
    let one = |bundle: &Bundle| json!({"name": bundle.name, "version": bundle.version, "digest": bundle.content_digest, "size": bundle.size});
    let change = |change: &Change| json!({"change": change.what.word(), "kind": change.kind, "name": change.name, "bytes": change.bytes});
    let added: u64 = changes.iter().map(|change| change.bytes).sum();
    json!({
        "first": one(first),
        "second": one(second),
        "addedBytes": added,
        "sameContent": first.content_digest == second.content_digest,
        "changes": changes.iter().map(change).collect::<Vec<_>>(),
    })
}
