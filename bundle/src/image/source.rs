//! Images on disk, to be put into a bundle: OCI image layouts and archives.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use snafu::{OptionExt, ResultExt, Snafu, ensure};

use super::archive::{self, ArchiveError, Keep};
use super::graph::{Blobs, GraphError, walk};
use super::layout::{Attached, Named, is_layout, read_index};
use super::outline::Outline;
use crate::digest::{sha256, sha256_of};
use crate::model::Descriptor;
use crate::reference::Reference;
use crate::stream::{Limits, Receipt};

/// Why a source has no images to give.
#[derive(Debug, Snafu)]
pub enum SourceError {
    /// Not a source.
    #[snafu(display(
        "\"{given}\" is no source of images, must be oci:DIRECTORY, oci-archive:FILE or docker-archive:FILE"
    ))]
    Form {
        /// What was given.
        given: String,
    },
    /// A file can't be read.
    #[snafu(display("{}: {source}", path.display()))]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The source holds something else.
    #[snafu(display("{place}: {reason}"))]
    Content {
        /// Which source, which image.
        place: String,
        /// What is wrong.
        reason: String,
    },
}

/// A place on disk that has images.
#[derive(Debug)]
pub struct ImageSource {
    given: String,
    path: PathBuf,
    store: Store,
    images: Vec<Named>,
}

/// An image of a source, everything of it there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FoundImage {
    /// The manifest or index that the name stands for.
    pub target: Descriptor,
    /// Every manifest and index, the target among them.
    pub manifests: Vec<Descriptor>,
    /// Every config and layer.
    pub blobs: Vec<Descriptor>,
}

#[derive(Debug)]
enum Store {
    /// A folder with `blobs/sha256/<hex>`, as an OCI image layout is.
    Layout,
    /// An archive: offset and size of every file in it by digest, and the manifests made for it.
    Archive { places: BTreeMap<String, (u64, u64)>, documents: BTreeMap<String, Vec<u8>> },
}

impl ImageSource {
    /// Opens `oci:DIRECTORY`, `oci-archive:FILE` or `docker-archive:FILE` and reads which images it has.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn open(given: &str, limits: &Limits) -> Result<Self, SourceError> {
        let (form, path) = given.split_once(':').context(FormSnafu { given })?;
        ensure!(!path.is_empty(), FormSnafu { given });
        match form {
            "oci" => Self::layout(given, Path::new(path), limits),
            "oci-archive" | "docker-archive" => Self::archive(given, Path::new(path), limits),
            _ => FormSnafu { given }.fail(),
        }
    }

    /// Images that were gathered into a folder with `blobs/sha256/<hex>` in it: names, and what they stand for; and what
    /// refers to them. The folder may hold more.
    #[must_use]
    pub fn gathered(given: &str, path: &Path, images: Vec<(String, Descriptor)>, referrers: Vec<Descriptor>) -> Self {
        let images = images.into_iter().map(|(name, target)| Named::new(vec![name], target));
        let referrers = referrers.into_iter().map(|target| Named::new(Vec::new(), target));
        let images = images.chain(referrers).collect();
        Self { given: given.to_owned(), path: path.to_owned(), store: Store::Layout, images }
    }

    fn layout(given: &str, path: &Path, limits: &Limits) -> Result<Self, SourceError> {
        let read = |name: &str| read_limited(&path.join(name), limits.json);
        let reason = "oci-layout must say imageLayoutVersion 1.0.0";
        ensure!(is_layout(&read("oci-layout")?), ContentSnafu { place: given, reason });
        let images = read_index(&read("index.json")?)
            .or_else(|reason| ContentSnafu { place: given, reason: format!("index.json: {reason}") }.fail())?;
        Ok(Self { given: given.to_owned(), path: path.to_owned(), store: Store::Layout, images })
    }

    fn archive(given: &str, path: &Path, limits: &Limits) -> Result<Self, SourceError> {
        let file = File::open(path).context(FileSnafu { path })?;
        let mut found = OnDisk { path, places: BTreeMap::new(), documents: BTreeMap::new() };
        let read = archive::read(&mut io::BufReader::with_capacity(1 << 16, file), &mut found, limits);
        let images = read.map_err(|error| match error {
            ArchiveError::Read { source } | ArchiveError::Kept { source }
                if source.kind() != io::ErrorKind::InvalidData =>
            {
                SourceError::File { path: path.to_owned(), source }
            }
            wrong => SourceError::Content {
                place: given.to_owned(),
                reason: format!("{wrong} (a compressed archive must be unpacked first)"),
            },
        })?;
        let OnDisk { places, documents, .. } = found;
        let store = Store::Archive { places, documents };
        Ok(Self { given: given.to_owned(), path: path.to_owned(), store, images: images.images })
    }

    /// The image that a reference means; `None` when it is not here.
    ///
    /// # Errors
    /// An image that is here in part only, or several of this name.
    pub fn find(&mut self, reference: &Reference, limits: &Limits) -> Result<Option<FoundImage>, SourceError> {
        let place = format!("{}: {reference}", self.given);
        let mut targets: Vec<_> =
            self.images.iter().filter(|image| image.is(reference)).map(|image| image.target.clone()).collect();
        targets.dedup();
        let target = match targets.as_slice() {
            [] => return Ok(None),
            [target] => target.clone(),
            _ => return ContentSnafu { place, reason: "there are several images of this name" }.fail(),
        };
        self.whole(target, place, limits).map(Some)
    }

    /// What is here without a name and refers to one of these manifests (signatures, SBOMs).
    ///
    /// # Errors
    /// Something of that kind that is here in part only.
    pub fn referrers(&mut self, subjects: &BTreeSet<String>, limits: &Limits) -> Result<Vec<FoundImage>, SourceError> {
        let unnamed = self.images.iter().filter(|image| image.names.is_empty());
        let targets: Vec<_> = unnamed.map(|image| image.target.clone()).collect();
        let mut found = Vec::new();
        for target in targets {
            let subject = self.read(&target.digest, limits.image_manifest).ok();
            let subject = subject.and_then(|bytes| Outline::read(&target, &bytes).ok()).and_then(Outline::subject);
            if subject.is_some_and(|subject| subjects.contains(&subject)) {
                let place = format!("{}: {}", self.given, target.digest);
                found.push(self.whole(target, place, limits)?);
            }
        }
        Ok(found)
    }

    /// What is here under a tag that says that it belongs to one of these manifests of a repository (as the registry serves
    /// it), with its name.
    ///
    /// # Errors
    /// Something of that kind that is here in part only.
    pub fn attachments(
        &mut self,
        repository: &str,
        subjects: &BTreeSet<String>,
        limits: &Limits,
    ) -> Result<Vec<(String, FoundImage)>, SourceError> {
        let belongs = |at: &Attached| at.repository == repository && subjects.contains(&at.subject);
        let named = |image: &Named| Some((image.attached().filter(belongs)?.name, image.target.clone()));
        let targets: Vec<_> = self.images.iter().filter_map(named).collect();
        let mut found = Vec::new();
        for (name, target) in targets {
            let place = format!("{}: {name}", self.given);
            found.push((name, self.whole(target, place, limits)?));
        }
        Ok(found)
    }

    fn whole(&mut self, target: Descriptor, place: String, limits: &Limits) -> Result<FoundImage, SourceError> {
        match walk(self, &target, limits.image_manifest) {
            Ok(graph) => Ok(FoundImage { target, manifests: graph.manifests, blobs: graph.blobs }),
            Err(GraphError::Broken { reason }) => ContentSnafu { place, reason }.fail(),
            Err(GraphError::Read { source }) => Err(SourceError::File { path: self.path.clone(), source }),
        }
    }

    /// Opens a blob. The one who reads it compares its digest.
    ///
    /// # Errors
    /// A blob that is not here, a file that can't be read.
    pub fn blob(&self, digest: &str) -> io::Result<Box<dyn Read>> {
        match &self.store {
            Store::Layout => Ok(Box::new(File::open(self.blob_path(digest))?)),
            Store::Archive { places, documents } => match (documents.get(digest), places.get(digest)) {
                (Some(document), _) => Ok(Box::new(Cursor::new(document.clone()))),
                (None, Some(&(offset, size))) => Ok(Box::new(part(&self.path, offset, size)?)),
                (None, None) => Err(io::Error::new(io::ErrorKind::NotFound, format!("no blob {digest}"))),
            },
        }
    }

    fn blob_path(&self, digest: &str) -> PathBuf {
        self.path.join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
    }
}

impl Blobs for ImageSource {
    type Error = io::Error;

    fn size(&self, digest: &str) -> Option<u64> {
        match &self.store {
            Store::Layout => {
                fs::metadata(self.blob_path(digest)).ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len())
            }
            Store::Archive { places, documents } => {
                let document = documents.get(digest).map(|document| document.len() as u64);
                document.or_else(|| places.get(digest).map(|(_, size)| *size))
            }
        }
    }

    fn read(&mut self, digest: &str, limit: u64) -> Result<Vec<u8>, Self::Error> {
        let bytes = read_whole(self.blob(digest)?, limit)?;
        if sha256(&bytes) == digest {
            Ok(bytes)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("blob {digest} has digest {}", sha256(&bytes))))
        }
    }
}

/// Remembers where an archive's files are.
struct OnDisk<'a> {
    path: &'a Path,
    places: BTreeMap<String, (u64, u64)>,
    documents: BTreeMap<String, Vec<u8>>,
}

impl Keep for OnDisk<'_> {
    type Error = io::Error;

    fn keep(&mut self, offset: u64, body: &mut dyn Read) -> Result<Receipt, Self::Error> {
        let (digest, size) = sha256_of(body)?;
        self.places.insert(digest.clone(), (offset, size));
        Ok(Receipt { digest, size })
    }

    fn add(&mut self, document: &[u8]) -> Result<Receipt, Self::Error> {
        let receipt = Receipt { digest: sha256(document), size: document.len() as u64 };
        self.documents.insert(receipt.digest.clone(), document.to_vec());
        Ok(receipt)
    }

    fn read_back(&mut self, digest: &str, limit: u64) -> Result<Vec<u8>, Self::Error> {
        match (self.documents.get(digest), self.places.get(digest)) {
            (Some(document), _) => Ok(document.clone()),
            (None, Some(&(offset, size))) => read_whole(part(self.path, offset, size)?, limit),
            (None, None) => Err(io::Error::new(io::ErrorKind::NotFound, format!("no blob {digest}"))),
        }
    }
}

fn part(path: &Path, offset: u64, size: u64) -> io::Result<io::Take<File>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    Ok(file.take(size))
}

fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, SourceError> {
    File::open(path).and_then(|file| read_whole(file, limit)).context(FileSnafu { path })
}

fn read_whole(input: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has more than {limit} bytes")));
    }
    Ok(bytes)
}
