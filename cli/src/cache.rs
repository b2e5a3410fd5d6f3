//! Downloaded content on this machine, by digest, so that nothing is downloaded twice.
//!
//! ```text
//! blobs/sha256/<hex>     whole, renamed into place
//! partial/<key>          what of a download is there so far
//! locks/<key>            held by the one who downloads; never removed, or two could hold "it"
//! addresses/<key>.json   which content an address had, and how to ask whether it still has it
//! ```
//! Several builds may use it at the same time. Nothing in it is believed: what is found is hashed before it is used.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bundle::digest::{sha256, sha256_with};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use snafu::{ResultExt, Snafu};

/// What nobody used for so long is removed.
const KEPT: Duration = Duration::from_hours(30 * 24);

/// The cache can't be used.
#[derive(Debug, Snafu)]
#[snafu(display("the cache {}: {source}", path.display()))]
pub struct CacheError {
    path: PathBuf,
    source: io::Error,
}

/// The cache of one user.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Opens the user's cache, makes it where there is none, and removes what is old.
    ///
    /// It is `$XDG_CACHE_HOME/dcos-registry`, else what the system has for caches, else in the folder for temporary files.
    pub fn open() -> Result<Self, CacheError> {
        let cache = Self { root: base().join("dcos-registry") };
        for name in ["blobs/sha256", "partial", "locks", "addresses"] {
            let path = cache.root.join(name);
            make_private(&path).context(CacheSnafu { path })?;
        }
        cache.prune();
        Ok(cache)
    }

    /// The folder that has `blobs/sha256/<hex>`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A folder for files that are not whole yet. What is forgotten there is removed when it is old.
    pub fn downloads(&self) -> PathBuf {
        self.root.join("partial")
    }

    /// The path of a blob, whether it is there or not.
    pub fn path(&self, digest: &str) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
    }

    /// Opens a blob at its beginning, if it is there and right. One that is damaged is removed.
    pub fn find(&self, digest: &str) -> Result<Option<File>, CacheError> {
        let path = self.path(digest);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CacheError { path, source }),
        };
        let hashed = sha256_with(&mut file, |_| Ok(())).and_then(|found| file.rewind().map(|()| found));
        let (found, _) = hashed.context(CacheSnafu { path: &path })?;
        if found == digest {
            // Only so that it isn't removed as old.
            let _ = File::options().write(true).open(&path).and_then(|file| file.set_modified(SystemTime::now()));
            return Ok(Some(file));
        }
        fs::remove_file(&path).context(CacheSnafu { path })?;
        Ok(None)
    }

    /// The bytes of a small blob, if it is there and right.
    pub fn read(&self, digest: &str) -> Result<Option<Vec<u8>>, CacheError> {
        let Some(mut file) = self.find(digest)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).context(CacheSnafu { path: self.path(digest) })?;
        Ok(Some(bytes))
    }

    /// Puts a small document in and gives its digest.
    pub fn add(&self, bytes: &[u8]) -> Result<String, CacheError> {
        let digest = sha256(bytes);
        let path = self.path(&digest);
        self.write(&path, bytes).context(CacheSnafu { path })?;
        Ok(digest)
    }

    /// Waits until nobody else downloads this, and gives what is there of it. The key is a file name.
    pub async fn partial(&self, key: &str) -> Result<Partial, CacheError> {
        let path = self.root.join("partial").join(key);
        let lock_path = self.root.join("locks").join(key);
        let opened = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || {
                let lock = OpenOptions::new().create(true).append(true).open(lock_path)?;
                lock.lock()?;
                Partial::open(path, lock)
            })
        };
        let opened = opened.await.map_err(io::Error::other).flatten();
        opened.context(CacheSnafu { path })
    }

    /// Makes a download that has ended a blob, and gives its digest and an open file.
    pub fn keep(&self, partial: Partial) -> Result<(String, File), CacheError> {
        let Partial { mut file, path, hasher, lock, .. } = partial;
        let digest = format!("sha256:{}", hex(hasher));
        let kept = fs::rename(&path, self.path(&digest)).and_then(|()| file.rewind());
        kept.context(CacheSnafu { path })?;
        drop(lock);
        Ok((digest, file))
    }

    /// What was noted about an address.
    pub fn noted<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        // A note that can't be read is as good as none.
        fs::read(self.note(key)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
    }

    /// Notes something about an address.
    pub fn take_note(&self, key: &str, note: &impl Serialize) -> Result<(), CacheError> {
        let path = self.note(key);
        let bytes = serde_json::to_vec(note).map_err(io::Error::other);
        bytes.and_then(|bytes| self.write(&path, &bytes)).context(CacheSnafu { path })
    }

    fn note(&self, key: &str) -> PathBuf {
        self.root.join("addresses").join(format!("{key}.json"))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(self.downloads())?;
        file.write_all(bytes)?;
        file.persist(path).map(drop).map_err(|error| error.error)
    }

    /// Removes what is old. It is in nobody's way when that fails.
    fn prune(&self) {
        let is_old = |entry: &fs::DirEntry| {
            let age = entry.metadata().and_then(|metadata| metadata.modified()).map(|at| at.elapsed());
            matches!(age, Ok(Ok(age)) if age > KEPT)
        };
        for folder in ["blobs/sha256", "partial", "addresses"] {
            let entries = fs::read_dir(self.root.join(folder)).into_iter().flatten().flatten();
            for old in entries.filter(is_old) {
                let _ = fs::remove_file(old.path());
            }
        }
    }
}

/// What of a download is there, in nobody else's hands.
#[derive(Debug)]
pub struct Partial {
    file: File,
    path: PathBuf,
    size: u64,
    hasher: Sha256,
    lock: File,
}

impl Partial {
    fn open(path: PathBuf, lock: File) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        let mut hasher = Sha256::new();
        let size = hash(&mut file, &mut hasher)?;
        Ok(Self { file, path, size, hasher, lock })
    }

    /// Bytes that are there.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// `sha256:<hex>` of what is there.
    pub fn digest(&self) -> String {
        format!("sha256:{}", hex(self.hasher.clone()))
    }

    /// Adds the next bytes. They are the system's at once: whoever kills this process loses none.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Starts again.
    pub fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.hasher = Sha256::new();
        self.size = 0;
        Ok(())
    }
}

fn hash(input: &mut File, hasher: &mut Sha256) -> io::Result<u64> {
    let mut buffer = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        let count = input.read(&mut buffer)?;
        if count == 0 {
            return Ok(size);
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
        size += count as u64;
    }
}

fn hex(hasher: Sha256) -> String {
    data_encoding::HEXLOWER.encode(&hasher.finalize())
}

/// Where the system has users' caches.
fn base() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
    let system = || {
        if cfg!(windows) {
            variable("LOCALAPPDATA")
        } else if cfg!(target_os = "macos") {
            home().map(|home| home.join("Library/Caches"))
        } else {
            home().map(|home| home.join(".cache"))
        }
    };
    variable("XDG_CACHE_HOME").or_else(system).unwrap_or_else(std::env::temp_dir)
}

/// Makes a folder that only its user reads, and those above it.
fn make_private(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache { root: folder.path().to_owned() };
        for name in ["blobs/sha256", "partial", "locks", "addresses"] {
            make_private(&cache.root.join(name)).unwrap();
        }
        (folder, cache)
    }

    #[tokio::test]
    async fn a_download_goes_on_where_it_stopped_and_is_then_found_by_its_digest() {
        let (_folder, cache) = cache();
        cache.partial("k").await.unwrap().append(b"one ").unwrap();
        let mut partial = cache.partial("k").await.unwrap();
        assert_eq!((partial.size(), partial.digest()), (4, sha256(b"one ")));
        partial.append(b"two").unwrap();
        let (digest, mut file) = cache.keep(partial).unwrap();
        assert_eq!(digest, sha256(b"one two"));
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two");
        assert!(cache.find(&digest).unwrap().is_some());
        assert_eq!(cache.partial("k").await.unwrap().size(), 0);
    }

    #[tokio::test]
    async fn only_one_has_a_download_at_a_time() {
        let (_folder, cache) = cache();
        let first = cache.partial("k").await.unwrap();
        let second = cache.partial("k");
        assert!(tokio::time::timeout(Duration::from_millis(50), second).await.is_err());
        drop(first);
    }

    #[test]
    fn what_is_damaged_is_removed_and_not_given() {
        let (_folder, cache) = cache();
        let digest = cache.add(b"good").unwrap();
        fs::write(cache.path(&digest), "evil").unwrap();
        assert!(cache.find(&digest).unwrap().is_none());
        assert!(!cache.path(&digest).exists());
        assert!(cache.read(&cache.add(b"good").unwrap()).unwrap().is_some_and(|bytes| bytes == b"good"));
    }

    #[test]
    fn what_can_not_be_read_is_an_error_and_not_missing() {
        let (_folder, cache) = cache();
        let digest = sha256(b"a folder");
        assert!(cache.read(&digest).unwrap().is_none());
        fs::create_dir(cache.path(&digest)).unwrap();
        let said = cache.read(&digest).unwrap_err().to_string();
        assert!(said.contains(digest.trim_start_matches("sha256:")), "{said}");
    }

    #[test]
    fn what_is_old_is_removed() {
        let (_folder, cache) = cache();
        let (old, new) = (cache.add(b"old").unwrap(), cache.add(b"new").unwrap());
        let file = File::options().write(true).open(cache.path(&old)).unwrap();
        file.set_modified(SystemTime::now() - KEPT - Duration::from_secs(1)).unwrap();
        cache.prune();
        assert!(!cache.path(&old).exists() && cache.path(&new).exists());
    }
}
