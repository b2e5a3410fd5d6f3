//! `export`: the `.dcos` file of a package that is in a registry, byte for byte what `build` made.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::PathBuf;

use api::PackageContent;
use bundle::model::File;
use bundle::write::{Entries, Part, write_entries};
use clap::Args;

use crate::connection::{Api, Target};
use crate::coordinate::Coordinate;
use crate::failure::Failure;
use crate::output::{Json, Output};
use crate::progress::Transfer;
use crate::remote::RemotePart;
use crate::runtime::runtime;
use crate::saved::{Mode, Unsaved};

/// Arguments of `export`.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    package: Coordinate,
    /// Where <name>-<version>.dcos is written, made if need be [default: the working directory]
    #[arg(long, value_name = "DIRECTORY")]
    output_directory: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    json: Json,
}

/// Gets every part once, checks its digest and writes the file; it appears under its name whole or not at all.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let runtime = runtime()?;
    let Coordinate { name, version } = &arguments.package;
    let (connection, content) = runtime.block_on(async {
        let connection = arguments.target.connect().await?;
        let content = connection.api.content(name, version).await?;
        Ok::<_, Failure>((connection, content))
    })?;
    let content = arguments.package.known(content)?;
    let directory = arguments.output_directory.clone().unwrap_or_default();
    let mut file = Unsaved::start(&directory, &format!("{name}-{version}.dcos"))?;
    write(&content, &connection.api, &arguments.package, runtime.handle(), io::BufWriter::new(file.file()))
        .map_err(|error| Failure::Failed { message: format!("{name} {version}: {error}") })?;
    let path = file.keep(Mode::Private)?;
    Ok(Output::from(arguments.json).created("DC/OS Universe Package", &path)?)
}

fn write<W: io::Write + io::Seek>(
    content: &PackageContent,
    api: &Api,
    package: &Coordinate,
    handle: &tokio::runtime::Handle,
    output: W,
) -> io::Result<W> {
    let files: Vec<File> = content
        .files
        .iter()
        .map(|file| File { name: file.name.clone(), digest: file.digest.clone(), size: file.size })
        .collect();
    let paths: BTreeMap<String, (&str, u64)> =
        files.iter().map(|file| (file.path(), (file.digest.as_str(), file.size))).collect();
    let blobs: BTreeMap<String, u64> = content.blobs.iter().map(|blob| (blob.digest.clone(), blob.size)).collect();
    let signatures: Vec<_> = content.signatures.iter().map(|text| text.clone().into_bytes()).collect();
    let entries = Entries {
        metadata: content.metadata.as_bytes(),
        manifest: content.manifest.as_deref().map(str::as_bytes),
        signatures: &signatures,
        files: &files,
        index: content.index.as_deref().map(str::as_bytes),
        blobs: &blobs,
    };
    let total = paths.values().map(|(_, size)| size).chain(blobs.values()).sum();
    let progress = Transfer::start("File Download progress", total);
    let written = write_entries(output, &entries, &mut |part| {
        let (digest, size) = match part {
            Part::File(path) => paths.get(path).copied(),
            Part::Blob(digest) => blobs.get(digest).map(|size| (digest, *size)),
        }
        .ok_or_else(|| io::Error::other("the package lists it nowhere"))?;
        Ok(Box::new(RemotePart::new(handle.clone(), api, package, digest, size, &progress)) as Box<dyn Read + '_>)
    });
    progress.clear();
    written
}
