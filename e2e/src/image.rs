//! Container images from nothing but files: one layer, written as a docker-save archive or an OCI layout.
//!
//! The same input gives the same bytes: entries keep their order, and no clock, user or file time gets in.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use snafu::{ResultExt, Snafu};

/// Why an image could not be written.
#[derive(Debug, Snafu)]
pub enum Error {
    /// A file could not be read or written.
    #[snafu(display("cannot {act} {path}: {source}"))]
    File {
        /// A verb: `read`, `write`, …
        act: &'static str,
        /// Which file, or which entry of the image.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

/// One entry of the image's only layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path in the image without a leading slash: `bin/hello`.
    pub path: String,
    /// Permission bits: `0o755`.
    pub mode: u32,
    /// What is there.
    pub content: Content,
}

/// What an entry holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The bytes of a file on this machine.
    File(PathBuf),
    /// A folder.
    Folder,
    /// A symbolic link to this target.
    Link(String),
}

impl Entry {
    /// An executable file copied from this machine.
    #[must_use]
    pub fn program(path: &str, source: &Path) -> Self {
        Self { path: path.to_owned(), mode: 0o755, content: Content::File(source.to_owned()) }
    }

    /// A file of these bytes that everybody may read.
    #[must_use]
    pub fn bytes(path: &str, content: impl Into<Vec<u8>>) -> Self {
        Self { path: path.to_owned(), mode: 0o644, content: Content::Bytes(content.into()) }
    }

    /// A folder with these permission bits.
    #[must_use]
    pub fn folder(path: &str, mode: u32) -> Self {
        Self { path: path.to_owned(), mode, content: Content::Folder }
    }

    /// A symbolic link.
    #[must_use]
    pub fn link(path: &str, target: &str) -> Self {
        Self { path: path.to_owned(), mode: 0o777, content: Content::Link(target.to_owned()) }
    }
}

/// An image to be written, for Linux on this machine's architecture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// `name:tag`; kept as the archive's tag.
    pub reference: String,
    /// The layer's entries, in order.
    pub entries: Vec<Entry>,
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// `uid`, `uid:gid`, or empty for root.
    pub user: String,
    /// `NAME=value` each.
    pub env: Vec<String>,
}

/// The parts of a written image, by content.
struct Parts {
    layer: File,
    layer_digest: String,
    layer_size: u64,
    config: Vec<u8>,
    config_digest: String,
}

/// Go's name for this machine's architecture, which image configurations use.
#[must_use]
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Image {
    /// Writes the image as `docker save` does: `manifest.json`, the configuration and the layer in one tar.
    ///
    /// # Errors
    /// When an entry's file cannot be read or the archive cannot be written.
    pub fn write_docker_archive(&self, path: &Path) -> Result<(), Error> {
        let mut parts = self.parts()?;
        let (config, layer) = (format!("{}.json", parts.config_digest), format!("{}/layer.tar", parts.layer_digest));
        let manifest = json!([{"Config": config, "RepoTags": [self.reference], "Layers": [layer]}]).to_string();
        let name = path.display().to_string();
        let mut write = || -> io::Result<()> {
            let mut archive = tar::Builder::new(io::BufWriter::new(File::create(path)?));
            append(&mut archive, &config, parts.config.as_slice(), parts.config.len() as u64)?;
            append(&mut archive, &layer, &mut parts.layer, parts.layer_size)?;
            append(&mut archive, "manifest.json", manifest.as_bytes(), manifest.len() as u64)?;
            archive.into_inner()?.flush()
        };
        write().context(FileSnafu { act: "write", path: name })
    }

    /// Writes the image as an OCI layout into a folder, which is made if it is missing; returns the manifest's digest.
    ///
    /// # Errors
    /// When an entry's file cannot be read or the layout cannot be written.
    pub fn write_oci_layout(&self, folder: &Path) -> Result<String, Error> {
        let mut parts = self.parts()?;
        let manifest = oci_manifest(&parts).to_string();
        let digest = HEXLOWER.encode(&Sha256::digest(&manifest));
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": format!("sha256:{digest}"), "size": manifest.len(),
                "annotations": {"org.opencontainers.image.ref.name": self.reference},
            }],
        });
        let name = folder.display().to_string();
        let mut write = || -> io::Result<()> {
            let blobs = folder.join("blobs/sha256");
            fs::create_dir_all(&blobs)?;
            fs::write(blobs.join(&parts.config_digest), &parts.config)?;
            io::copy(&mut parts.layer, &mut File::create(blobs.join(&parts.layer_digest))?)?;
            fs::write(blobs.join(&digest), &manifest)?;
            fs::write(folder.join("index.json"), index.to_string())?;
            fs::write(folder.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())
        };
        write().context(FileSnafu { act: "write", path: name })?;
        Ok(format!("sha256:{digest}"))
    }

    fn parts(&self) -> Result<Parts, Error> {
        let (layer, layer_digest, layer_size) = self.layer()?;
        let config = self.config(&layer_digest).to_string().into_bytes();
        let config_digest = HEXLOWER.encode(&Sha256::digest(&config));
        Ok(Parts { layer, layer_digest, layer_size, config, config_digest })
    }

    /// Writes the layer to an unnamed temporary file: programs can be too big for memory. Returns it rewound.
    fn layer(&self) -> Result<(File, String, u64), Error> {
        let on_temporary = FileSnafu { act: "write", path: "a temporary file" };
        let mut builder = tar::Builder::new(Hashing::new(tempfile::tempfile().context(on_temporary)?));
        for entry in &self.entries {
            append_entry(&mut builder, entry).context(FileSnafu { act: "pack", path: &entry.path })?;
        }
        let (mut file, digest, size) = builder.into_inner().context(on_temporary)?.end();
        file.seek(SeekFrom::Start(0)).context(on_temporary)?;
        Ok((file, digest, size))
    }

    fn config(&self, layer_digest: &str) -> Value {
        json!({
            "architecture": architecture(),
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {"User": self.user, "Env": self.env, "Entrypoint": self.entrypoint, "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
            "history": [{"created": "1970-01-01T00:00:00Z"}],
        })
    }
}

fn oci_manifest(parts: &Parts) -> Value {
    let descriptor = |kind: &str, digest: &str, size: u64| json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": format!("sha256:{digest}"), "size": size});
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", &parts.config_digest, parts.config.len() as u64),
        "layers": [descriptor("layer.v1.tar", &parts.layer_digest, parts.layer_size)],
    })
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn append(archive: &mut tar::Builder<impl Write>, path: &str, content: impl Read, size: u64) -> io::Result<()> {
    archive.append_data(&mut header(tar::EntryType::Regular, 0o644, size), path, content)
}

fn append_entry(layer: &mut tar::Builder<impl Write>, entry: &Entry) -> io::Result<()> {
    let (path, mode) = (&entry.path, entry.mode);
    match &entry.content {
        Content::Bytes(bytes) => {
            layer.append_data(&mut header(tar::EntryType::Regular, mode, bytes.len() as u64), path, bytes.as_slice())
        }
        Content::File(source) => {
            let file = File::open(source)?;
            let size = file.metadata()?.len();
            layer.append_data(&mut header(tar::EntryType::Regular, mode, size), path, file.take(size))
        }
        Content::Folder => layer.append_data(&mut header(tar::EntryType::Directory, mode, 0), path, io::empty()),
        Content::Link(target) => layer.append_link(&mut header(tar::EntryType::Symlink, mode, 0), path, target),
    }
}

/// Passes on what is written, counts it and takes its hash.
#[derive(Debug)]
pub struct Hashing<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

impl<W> Hashing<W> {
    /// Nothing has passed yet.
    pub fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), size: 0 }
    }

    /// What it was written to, the SHA-256 of what passed in hexadecimal digits, and its bytes.
    pub fn end(self) -> (W, String, u64) {
        (self.inner, HEXLOWER.encode(&self.hash.finalize()), self.size)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        Image {
            reference: "example.com/hello:1".to_owned(),
            entries: vec![
                Entry::folder("bin", 0o755),
                Entry { path: "bin/hello".to_owned(), mode: 0o755, content: Content::Bytes(b"program".to_vec()) },
                Entry::link("bin/sh", "hello"),
            ],
            entrypoint: vec!["/bin/hello".to_owned()],
            user: "65532:65532".to_owned(),
            env: vec!["A=b".to_owned()],
        }
    }

    fn files(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut archive = tar::Archive::new(archive);
        let read = |mut entry: tar::Entry<'_, &[u8]>| {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().to_str().unwrap().to_owned(), content)
        };
        archive.entries().unwrap().map(|entry| read(entry.unwrap())).collect()
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        let mut image = image();
        image.entries.push(Entry::program("bin/other", &source));
        let archives: Vec<Vec<u8>> = ["one", "two"]
            .map(|name| {
                fs::write(&source, "other program").unwrap(); // a new modification time, which must not matter
                let path = folder.path().join(name);
                image.write_docker_archive(&path).unwrap();
                fs::read(path).unwrap()
            })
            .to_vec();
        assert_eq!(archives[0], archives[1]);
    }

    #[test]
    fn a_docker_archive_names_its_parts_by_their_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.tar");
        image().write_docker_archive(&path).unwrap();
        let files = files(&fs::read(path).unwrap());
        let content = |name: &str| files.iter().find(|(path, _)| path == name).unwrap().1.clone();
        let manifest: Value = serde_json::from_slice(&content("manifest.json")).unwrap();
        assert_eq!(manifest[0]["RepoTags"][0], "example.com/hello:1");
        let config_name = manifest[0]["Config"].as_str().unwrap();
        assert_eq!(config_name, format!("{}.json", HEXLOWER.encode(&Sha256::digest(content(config_name)))));
        let config: Value = serde_json::from_slice(&content(config_name)).unwrap();
        let layer = content(manifest[0]["Layers"][0].as_str().unwrap());
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(&layer))));
        assert_eq!(config["config"]["User"], "65532:65532");
        let names: Vec<String> = self::files(&layer).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["bin", "bin/hello", "bin/sh"]);
    }

    #[test]
    fn every_blob_of_an_oci_layout_has_the_digest_that_it_is_named_by() {
        let folder = tempfile::tempdir().unwrap();
        let digest = image().write_oci_layout(folder.path()).unwrap();
        let blobs: Vec<PathBuf> =
            fs::read_dir(folder.path().join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(blobs.len(), 3);
        for blob in &blobs {
            assert_eq!(
                blob.file_name().unwrap().to_str().unwrap(),
                HEXLOWER.encode(&Sha256::digest(fs::read(blob).unwrap()))
            );
        }
        let index: Value = serde_json::from_slice(&fs::read(folder.path().join("index.json")).unwrap()).unwrap();
        assert_eq!(index["manifests"][0]["digest"], digest);
    }

    #[test]
    fn a_missing_program_is_named() {
        let mut image = image();
        image.entries.push(Entry::program("bin/other", Path::new("/nonexistent")));
        let error = image.write_docker_archive(Path::new("/dev/null")).unwrap_err();
        assert!(error.to_string().contains("bin/other"), "{error}");
    }
}
