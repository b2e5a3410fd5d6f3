//! `inspect`: what is in a bundle.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;

use bundle::manifest::Manifest;
use bundle::model::{Bundle, Image};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::checked::check;
use crate::failure::Failure;
use crate::output::Output;
use crate::size::Size;
use crate::table::table;

/// Arguments of `inspect`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The package (.dcos)
    file: PathBuf,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    output: Format,
    /// Print one JSON document and nothing else, as --output=json does
    #[arg(long, conflicts_with = "output")]
    json: bool,
    /// Print the document that signatures sign, whose sha256 is the content digest, and nothing else
    #[arg(long, conflicts_with_all = ["output", "json"])]
    content: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// Reads and checks the whole bundle, then prints.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let bundle = check(&arguments.file)?;
    if arguments.content {
        return Ok(io::stdout().write_all(&bundle.content())?);
    }
    let json = arguments.json || arguments.output == Format::Json;
    Ok(Output::new(json).result(text(&bundle), &document(&bundle)?)?)
}

/// Bytes of an image, what it shares with others too.
fn size(image: &Image) -> u64 {
    image.manifests.iter().chain(&image.blobs).map(|blob| blob.size).sum()
}

/// Where the packer had a file from, as it says.
fn sources(bundle: &Bundle) -> Vec<(String, String)> {
    let manifest = bundle.manifest.as_deref().and_then(|bytes| serde_json::from_slice::<Manifest>(bytes).ok());
    let resources = manifest.map(|manifest| manifest.resources).unwrap_or_default();
    resources.into_iter().map(|resource| (resource.path, resource.source)).collect()
}

fn source<'a>(sources: &'a [(String, String)], file: &bundle::model::File) -> &'a str {
    let path = format!("resources/{}/{}", file.digest.trim_start_matches("sha256:"), file.name);
    sources.iter().find(|(known, _)| *known == path).map_or("", |(_, source)| source)
}

fn document(bundle: &Bundle) -> Result<Value, serde_json::Error> {
    let sources = sources(bundle);
    let files: Vec<_> = bundle
        .files
        .iter()
        .map(|file| json!({"name": file.name, "size": file.size, "digest": file.digest, "source": source(&sources, file)}))
        .collect();
    let images: Vec<_> = bundle
        .images
        .iter()
        .map(|image| {
            json!({"alias": image.alias, "reference": image.reference, "digest": image.target.digest,
                "mediaType": image.target.media_type, "platforms": image.platforms, "size": size(image),
                "servedAs": image.repository})
        })
        .collect();
    Ok(json!({
        "name": bundle.name,
        "version": bundle.version,
        "packagingVersion": bundle.packaging_version,
        "digest": bundle.content_digest,
        "size": bundle.size,
        "signatures": bundle.signatures.len(),
        "files": files,
        "images": images,
        "metadata": serde_json::from_slice::<Value>(&bundle.metadata)?,
    }))
}

fn text(bundle: &Bundle) -> String {
    let mut text = String::new();
    let count = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    let what = format!("{}, {}", count(bundle.files.len(), "file"), count(bundle.images.len(), "image"));
    for (name, value) in [
        ("Name:", &bundle.name),
        ("Version:", &bundle.version),
        ("Packaging version:", &bundle.packaging_version),
        ("Digest:", &bundle.content_digest),
        ("Size:", &format!("{} ({what})", Size(bundle.size))),
        ("Signatures:", &bundle.signatures.len().to_string()),
    ] {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:20}{value}");
    }
    if !bundle.files.is_empty() {
        let sources = sources(bundle);
        let row = |file: &bundle::model::File| {
            [file.name.clone(), Size(file.size).to_string(), short(&file.digest), source(&sources, file).to_owned()]
        };
        let rows: Vec<_> = bundle.files.iter().map(row).collect();
        text = format!("{text}\n{}", table(["FILE", "SIZE", "DIGEST", "SOURCE"], &rows));
    }
    if !bundle.images.is_empty() {
        let row = |image: &Image| {
            [
                image.reference.clone(),
                Size(size(image)).to_string(),
                short(&image.target.digest),
                image.platforms.join(","),
            ]
        };
        let rows: Vec<_> = bundle.images.iter().map(row).collect();
        text = format!("{text}\n{}", table(["IMAGE", "SIZE", "DIGEST", "PLATFORMS"], &rows));
    }
    text
}

/// As much of a digest as people need to tell it from others; JSON has all of it.
fn short(digest: &str) -> String {
    digest.chars().take("sha256:".len() + 12).collect()
}
