//! The images that the cluster itself runs, packed from binaries and kept in the cache.

use std::{
    fs,
    path::{Path, PathBuf},
};

use snafu::ResultExt;

use super::{
    command::create_folder,
    error::{FileSnafu, ImageArchiveSnafu, Result},
    go_build,
    paths::{binaries, cache},
    prerequisites,
    progress::Progress,
    up::lock,
    versions::{COREDNS, IMAGE_RECIPE, LOCAL_PATH_PROVISIONER, MINIO, PAUSE},
};
use crate::image::{Entry, Image};

/// Holds the namespaces of every pod.
pub(crate) const PAUSE_IMAGE: &str = "package-registry.local/pause:1";
/// The cluster's DNS server.
pub(crate) const COREDNS_IMAGE: &str = "package-registry.local/coredns:1";
/// Makes volumes.
pub(crate) const PROVISIONER_IMAGE: &str = "package-registry.local/local-path-provisioner:1";
/// A shell and the usual tools, for the provisioner's helper pods and for tests.
pub(crate) const BUSYBOX_IMAGE: &str = "package-registry.local/busybox:1";

/// An object store, for tests.
pub const MINIO_IMAGE: &str = "package-registry.local/minio:1";

/// What Debian's static busybox is asked for by the name of the program.
const BUSYBOX_PROGRAMS: [&str; 16] = [
    "cat", "chmod", "cp", "echo", "env", "id", "ls", "mkdir", "mv", "nslookup", "rm", "sh", "sleep", "test", "touch",
    "wget",
];

/// The archive of [`MINIO_IMAGE`], built unless the cache holds it.
///
/// # Errors
/// When the build fails or the archive can't be written.
pub fn minio_archive() -> Result<PathBuf> {
    prerequisites::ensure_go()?;
    let _lock = lock()?;
    let binary = go_build::ensure_minio(&Progress::start())?;
    ensure("minio", MINIO, &program("minio", MINIO_IMAGE, &binary))
}

fn program(name: &str, reference: &str, binary: &Path) -> Image {
    Image {
        reference: reference.to_owned(),
        entries: vec![Entry::program(name, binary)],
        entrypoint: vec![format!("/{name}")],
        ..Image::default()
    }
}

/// Writes the archives that the cache lacks; returns all of them.
pub(crate) fn ensure_all() -> Result<Vec<PathBuf>> {
    let coredns = binaries("coredns", COREDNS).join("coredns");
    let provisioner = binaries("local-path-provisioner", LOCAL_PATH_PROVISIONER).join("local-path-provisioner");
    [
        ("pause", PAUSE, program("pause", PAUSE_IMAGE, &binaries("pause", PAUSE).join("pause"))),
        ("busybox", "debian", busybox()),
        ("coredns", COREDNS, program("coredns", COREDNS_IMAGE, &coredns)),
        (
            "local-path-provisioner",
            LOCAL_PATH_PROVISIONER,
            program("local-path-provisioner", PROVISIONER_IMAGE, &provisioner),
        ),
    ]
    .into_iter()
    .map(|(name, version, image)| ensure(name, version, &image))
    .collect()
}

fn busybox() -> Image {
    let mut entries = vec![Entry::folder("bin", 0o755), Entry::program("bin/busybox", Path::new("/bin/busybox"))];
    entries.extend(BUSYBOX_PROGRAMS.map(|name| Entry::link(&format!("bin/{name}"), "busybox")));
    entries.push(Entry::folder("tmp", 0o1777));
    Image {
        reference: BUSYBOX_IMAGE.to_owned(),
        entries,
        entrypoint: vec!["/bin/sh".to_owned()],
        env: vec!["PATH=/bin".to_owned()],
        ..Image::default()
    }
}

fn ensure(name: &str, version: &str, image: &Image) -> Result<PathBuf> {
    let folder = cache().join("images");
    let path = folder.join(format!("{name}-{version}-{IMAGE_RECIPE}.tar"));
    if !path.exists() {
        create_folder(&folder)?;
        let unfinished = path.with_extension("unfinished");
        image.write_docker_archive(&unfinished).context(ImageArchiveSnafu { name })?;
        fs::rename(&unfinished, &path).context(FileSnafu { act: "create", path: &path })?;
    }
    Ok(path)
}
