//! Building a bundle from a build definition, files and images.

mod error;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;

use snafu::{OptionExt, ResultExt, ensure};
use url::Url;

use crate::definition::{Definition, Location, file_name, without_credentials};
use crate::digest::sha256_of;
use crate::image::source::{FoundImage, ImageSource, SourceError};
use crate::json::Json;
use crate::manifest::{Manifest, ManifestImage, ManifestResource};
use crate::model::{self, Descriptor};
use crate::reference::Reference;
use crate::stream::Limits;
use crate::universe::{Metadata, content_hashes, file_addresses, image_references, rewrite_files};
use crate::write::{Contents, Part, write};
pub use error::BuildError;
use error::{
    ContentHashSnafu, DefinitionSnafu, DownloadSnafu, LocalFileSnafu, NoImageSnafu, NotRegularSnafu, PullSnafu,
    ReferenceSnafu, ResultSnafu, SourceSnafu, WriteSnafu,
};

/// Gets what is on other machines.
pub trait Supply {
    /// Why something can't be had.
    type Error: std::error::Error + 'static;

    /// Downloads a file to its end, into a file that can be read again.
    ///
    /// # Errors
    /// An answer other than 200 after redirects, a connection that fails, a disk that is full.
    fn fetch(&mut self, url: &Url) -> Result<File, Self::Error>;

    /// Gets images that no given source has, written as in the definition, each once.
    ///
    /// # Errors
    /// An image that can't be had.
    fn pull(&mut self, images: &[(String, Reference)]) -> Result<ImageSource, Self::Error>;
}

/// What is going on, for the one who waits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// A file is fetched from this address.
    Fetching(String),
    /// This image is pulled from its registry, or taken from a local engine.
    Pulling(String),
    /// These images are put into the bundle.
    Saving(Vec<String>),
    /// This key has an empty address: it stays, nothing is fetched.
    EmptyAddress(String),
}

/// How a bundle is built.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// `<tool> <version>`, for the manifest.
    pub built_by: &'a str,
    /// Whether what belongs to the images (signatures, SBOMs) is put into the bundle, too, as far as the sources have it.
    pub referrers: bool,
}

/// Fetches every file, finds every image and writes the bundle to `output`.
///
/// # Errors
/// [`BuildError`]. The output is then of no use.
pub fn build<W: Write + Seek, F: Supply>(
    definition: &Definition,
    sources: &mut Vec<ImageSource>,
    supply: &mut F,
    options: Options<'_>,
    output: W,
    report: &mut dyn FnMut(Step),
) -> Result<W, BuildError<F::Error>> {
    let mut files = Files { definition, supply, report, by_location: BTreeMap::new(), by_address: BTreeMap::new() };
    let assets = definition.document().at(&["resource", "assets", "uris"]).map_or(&[][..], Json::entries);
    for (alias, value) in assets {
        match value.as_str() {
            Some("") => (files.report)(Step::EmptyAddress(format!("resource.assets.uris.{alias}"))),
            Some(address) => files.take(address)?,
            None => {}
        }
    }
    let mut images = files.images(sources)?;
    if options.referrers {
        images.add_referrers(sources).context(SourceSnafu)?;
    }
    if !images.references.is_empty() {
        (files.report)(Step::Saving(images.references.clone()));
    }
    for address in file_addresses(definition.document()) {
        files.take(address)?;
    }
    files.check_content_hashes()?;
    let paths = files.by_address;
    let held = files.by_location;
    let mut document = definition.document().clone();
    rewrite_files(&mut document, &mut |address| {
        paths
            .get(address)
            .and_then(|location| held.get(location))
            .map_or_else(|| address.to_owned(), |held| held.file.path())
    });
    let metadata = document.to_string();
    Metadata::parse(metadata.as_bytes()).context(ResultSnafu)?;
    // Two locations with the same bytes and name are one entry.
    let entries: BTreeMap<String, &Held> = held.values().map(|held| (held.file.path(), held)).collect();
    let resources = entries.iter().map(|(path, held)| held.listed(path)).collect();
    let manifest = Manifest::new(options.built_by.to_owned(), resources, images.listed.clone());
    let contents = Contents {
        metadata: metadata.as_bytes(),
        manifest: &manifest,
        images: &images.targets,
        referrers: &images.referrers,
        attachments: &images.attachments,
        blobs: &images.blobs,
    };
    write(output, &contents, &mut |part| match part {
        Part::File(path) => entries.get(path).map_or_else(|| not_there(path), |held| held.open()),
        Part::Blob(digest) => images.open(sources, digest),
    })
    .context(WriteSnafu)
}

struct Files<'a, F> {
    definition: &'a Definition,
    supply: &'a mut F,
    report: &'a mut dyn FnMut(Step),
    by_location: BTreeMap<Location, Held>,
    by_address: BTreeMap<String, Location>,
}

/// A file that is at hand.
struct Held {
    place: Place,
    file: model::File,
    /// Address or path, without credentials.
    source: String,
}

enum Place {
    Downloaded(File),
    Local(PathBuf),
}

impl Held {
    fn listed(&self, path: &str) -> ManifestResource {
        ManifestResource {
            path: path.to_owned(),
            size: self.file.size,
            sha256: self.file.hex().to_owned(),
            source: self.source.clone(),
        }
    }

    fn open(&self) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(self.place.open()?))
    }
}

impl Place {
    fn open(&self) -> io::Result<File> {
        match self {
            Self::Downloaded(file) => {
                let mut file = file.try_clone()?;
                file.rewind()?;
                Ok(file)
            }
            Self::Local(path) => File::open(path),
        }
    }
}

impl<F: Supply> Files<'_, F> {
    /// Fetches the file behind an address, unless it is there already.
    fn take(&mut self, address: &str) -> Result<(), BuildError<F::Error>> {
        if self.by_address.contains_key(address) {
            return Ok(());
        }
        let location = self.definition.locate(address).context(DefinitionSnafu)?;
        let shown = without_credentials(address);
        if !self.by_location.contains_key(&location) {
            (self.report)(Step::Fetching(shown.clone()));
            let place = match &location {
                Location::Http(url) => {
                    let file = self.supply.fetch(url).context(DownloadSnafu { address: &shown })?;
                    Place::Downloaded(file)
                }
                Location::File(path) => {
                    let metadata = std::fs::metadata(path).context(LocalFileSnafu { address, path })?;
                    ensure!(metadata.is_file(), NotRegularSnafu { address, path });
                    Place::Local(path.clone())
                }
            };
            let hashed = place.open().and_then(|mut file| sha256_of(&mut file));
            let path = match &place {
                Place::Local(path) => path.clone(),
                Place::Downloaded(_) => PathBuf::new(),
            };
            let (digest, size) = hashed.context(LocalFileSnafu { address, path })?;
            let file = model::File { name: file_name(address, &location), digest, size };
            self.by_location.insert(location.clone(), Held { place, file, source: shown });
        }
        self.by_address.insert(address.to_owned(), location);
        Ok(())
    }

    /// Finds every image in the sources; what none of them has is pulled, and is a source more then.
    fn images(&mut self, sources: &mut Vec<ImageSource>) -> Result<Packed, BuildError<F::Error>> {
        let mut wanted = Vec::new();
        let mut missing: Vec<(String, Reference)> = Vec::new();
        for (alias, written) in image_references(self.definition.document()) {
            let reference = Reference::parse(&written).context(ReferenceSnafu)?;
            let found = find(sources, &reference).context(SourceSnafu)?;
            if found.is_none() && !missing.iter().any(|(_, known)| known.same_image(&reference)) {
                missing.push((written.clone(), reference.clone()));
            }
            wanted.push((alias, written, reference, found));
        }
        if !missing.is_empty() {
            for (written, _) in &missing {
                (self.report)(Step::Pulling(written.clone()));
            }
            sources.push(self.supply.pull(&missing).context(PullSnafu)?);
        }
        let mut packed = Packed::default();
        for (alias, written, reference, found) in wanted {
            let found = found.map_or_else(|| find(sources, &reference), |found| Ok(Some(found)));
            let found = found.context(SourceSnafu)?.context(NoImageSnafu { reference: &written })?;
            packed.add(alias, written, &reference, found);
        }
        Ok(packed)
    }

    fn check_content_hashes(&self) -> Result<(), BuildError<F::Error>> {
        for (address, expected) in content_hashes(self.definition.document()) {
            let held = self.by_address.get(address).and_then(|location| self.by_location.get(location));
            let Some(held) = held else { continue };
            let expected = expected.to_ascii_lowercase();
            let found = held.file.hex();
            ensure!(expected == found, ContentHashSnafu { address: without_credentials(address), expected, found });
        }
        Ok(())
    }
}

/// The images of a package.
#[derive(Default)]
struct Packed {
    /// As the definition has them, each once, in its order of aliases.
    references: Vec<String>,
    targets: BTreeMap<String, Descriptor>,
    /// What refers to a manifest of these.
    referrers: BTreeSet<Descriptor>,
    /// What is kept beside these under a tag of its own, by its name.
    attachments: BTreeMap<String, Descriptor>,
    /// Digests of all manifests and indexes, by the repository that serves them.
    manifests: BTreeMap<String, BTreeSet<String>>,
    blobs: BTreeSet<Descriptor>,
    /// Which source has a blob.
    sources: BTreeMap<String, usize>,
    listed: Vec<ManifestImage>,
}

impl Packed {
    fn add(&mut self, alias: String, written: String, reference: &Reference, found: (usize, FoundImage)) {
        let (index, image) = found;
        let target = image.target.clone();
        let tag = if reference.tag.is_none() && reference.digest.is_none() { ":latest" } else { "" };
        let explicit = format!("{written}{tag}");
        self.listed.push(ManifestImage { alias, reference: explicit, manifest_digest: target.digest.clone() });
        self.take(&reference.served_repository(), index, image);
        if self.targets.insert(written.clone(), target).is_none() {
            self.references.push(written);
        }
    }

    fn take(&mut self, repository: &str, index: usize, image: FoundImage) {
        let manifests = self.manifests.entry(repository.to_owned()).or_default();
        manifests.extend(image.manifests.iter().map(|manifest| manifest.digest.clone()));
        for blob in image.manifests.into_iter().chain(image.blobs) {
            self.sources.entry(blob.digest.clone()).or_insert(index);
            self.blobs.insert(blob);
        }
    }

    /// Adds what belongs to what is there, and then what belongs to that.
    fn add_referrers(&mut self, sources: &mut [ImageSource]) -> Result<(), SourceError> {
        for (repository, mut subjects) in self.manifests.clone() {
            while !subjects.is_empty() {
                let before = self.manifests_in(&repository);
                for (index, source) in sources.iter_mut().enumerate() {
                    self.add_referrers_of(&repository, &subjects, index, source)?;
                }
                subjects = self.manifests_in(&repository).difference(&before).cloned().collect();
            }
        }
        Ok(())
    }

    fn add_referrers_of(
        &mut self,
        repository: &str,
        subjects: &BTreeSet<String>,
        index: usize,
        source: &mut ImageSource,
    ) -> Result<(), SourceError> {
        for referrer in source.referrers(subjects, &Limits::default())? {
            if !self.manifests_in(repository).contains(&referrer.target.digest) {
                self.referrers.insert(referrer.target.clone());
                self.take(repository, index, referrer);
            }
        }
        for (name, attachment) in source.attachments(repository, subjects, &Limits::default())? {
            if let Entry::Vacant(place) = self.attachments.entry(name) {
                place.insert(attachment.target.clone());
                self.take(repository, index, attachment);
            }
        }
        Ok(())
    }

    fn manifests_in(&self, repository: &str) -> BTreeSet<String> {
        self.manifests.get(repository).cloned().unwrap_or_default()
    }

    fn open(&self, sources: &[ImageSource], digest: &str) -> io::Result<Box<dyn Read>> {
        let source = self.sources.get(digest).and_then(|index| sources.get(*index));
        source.map_or_else(|| not_there(digest), |source| source.blob(digest))
    }
}

/// The first source that has an image.
fn find(sources: &mut [ImageSource], reference: &Reference) -> Result<Option<(usize, FoundImage)>, SourceError> {
    let limits = Limits::default();
    for (index, source) in sources.iter_mut().enumerate() {
        if let Some(image) = source.find(reference, &limits)? {
            return Ok(Some((index, image)));
        }
    }
    Ok(None)
}

fn not_there<T>(what: &str) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::NotFound, format!("{what} is not there")))
}
