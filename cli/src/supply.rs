//! What `build` gets from elsewhere: files by their address, images from registries or from an engine on this machine.

use std::fs::File;
use std::io;

use bundle::build;
use bundle::image::platform::Platform;
use bundle::image::source::ImageSource;
use bundle::reference::Reference;
use snafu::{ResultExt, Snafu};
use tokio::runtime::Runtime;
use url::Url;

use crate::cache::{Cache, CacheError};
use crate::download::{Download, DownloadError};
use crate::local::{self, LocalError, Saved};
use crate::registry::{Client, CredentialsError, Hosts, Keyring, PullError, Pulled, Puller};
use crate::runtime::runtime;

/// Why something can't be had.
#[derive(Debug, Snafu)]
pub enum SupplyError {
    /// A file.
    #[snafu(display("{source}"))]
    Download {
        /// Why.
        source: DownloadError,
    },
    /// There is no cache.
    #[snafu(display("{source}"))]
    Cache {
        /// Why.
        source: CacheError,
    },
    /// The user's credentials.
    #[snafu(display("{source}"))]
    Credentials {
        /// Why.
        source: CredentialsError,
    },
    /// An image from its registry.
    #[snafu(display("{source}"))]
    Pull {
        /// Why.
        source: PullError,
    },
    /// An image from an engine.
    #[snafu(display("{source}"))]
    Local {
        /// Why.
        source: LocalError,
    },
    /// Nothing can be downloaded.
    #[snafu(display("downloads are not possible: {source}"))]
    Start {
        /// Why.
        source: io::Error,
    },
}

/// Where images come from that no given source has.
#[derive(Debug)]
pub enum Images {
    /// Their own registries.
    Registries {
        /// Whom to ask.
        hosts: Hosts,
        /// What is wanted of them; empty: everything.
        platforms: Vec<Platform>,
        /// Whether what refers to the images is wanted, too.
        referrers: bool,
    },
    /// An engine on this machine.
    Engine,
}

/// Gets everything through the cache.
#[derive(Debug)]
pub struct Supply {
    runtime: Runtime,
    download: Download,
    /// Opened when something is needed from elsewhere.
    cache: Option<Cache>,
    images: Images,
    /// Files that are read until the bundle is written.
    saved: Vec<tempfile::NamedTempFile>,
}

impl Supply {
    /// Gets ready; nothing is asked yet.
    pub fn new(images: Images) -> Result<Self, SupplyError> {
        let runtime = runtime().context(StartSnafu)?;
        let download = Download::new().context(DownloadSnafu)?;
        Ok(Self { runtime, download, cache: None, images, saved: Vec::new() })
    }

    fn cache(&mut self) -> Result<Cache, SupplyError> {
        let cache = self.cache.take().map_or_else(Cache::open, Ok).context(CacheSnafu)?;
        self.cache = Some(cache.clone());
        Ok(cache)
    }
}

impl build::Supply for Supply {
    type Error = SupplyError;

    fn fetch(&mut self, url: &Url) -> Result<File, Self::Error> {
        let cache = self.cache()?;
        self.runtime.block_on(self.download.fetch(url, &cache)).context(DownloadSnafu)
    }

    fn pull(&mut self, images: &[(String, Reference)]) -> Result<ImageSource, Self::Error> {
        let cache = &self.cache()?;
        let Self { runtime, saved, .. } = self;
        match &self.images {
            Images::Engine => {
                let folder = cache.downloads();
                let saving = local::save(images, &folder);
                let Saved { source, file } = runtime.block_on(saving).context(LocalSnafu)?;
                saved.push(file);
                Ok(source)
            }
            Images::Registries { hosts, platforms, referrers } => {
                let client = Client::new(Keyring::open().context(CredentialsSnafu)?);
                let puller = Puller { client: &client, hosts, cache, platforms, with_referrers: *referrers };
                let Pulled { images, referrers } = runtime.block_on(puller.pull(images)).context(PullSnafu)?;
                Ok(ImageSource::gathered("the cache", cache.root(), images, referrers))
            }
        }
    }
}
