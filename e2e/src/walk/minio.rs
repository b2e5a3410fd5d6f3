//! A real object store in the cluster, for registries that keep their content in a bucket.

use std::{process::Command, time::Duration};

use snafu::{ResultExt as _, Whatever, whatever};

use super::{PortForward, apply, delete, deliver, images::Delivery, wait_gone};
use crate::cluster::{Cluster, MINIO_IMAGE, minio_archive};

/// Address of the store inside the cluster.
const ENDPOINT: &str = "http://minio.store.svc:9000";
const NAMESPACE: &str = "store";

/// Who may use the store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Credentials {
    /// Key id.
    pub key_id: String,
    /// Secret key.
    pub secret: String,
}

impl Credentials {
    /// Made up from a word: the same word gives the same credentials.
    #[must_use]
    pub fn of(word: &str) -> Self {
        Self { key_id: format!("key-of-{word}"), secret: format!("secret-of-{word}") }
    }

    /// An AWS shared credentials file with them in that profile.
    #[must_use]
    pub fn file(&self, profile: &str) -> String {
        format!("[{profile}]\naws_access_key_id = {}\naws_secret_access_key = {}\n", self.key_id, self.secret)
    }
}

/// The running store.
#[derive(Clone, Debug)]
pub struct Minio {
    cluster: Cluster,
    image: String,
}

impl Minio {
    /// Brings the store to the cluster, with these credentials and no others; what it holds from an earlier run stays.
    ///
    /// # Errors
    /// When a build or kubectl fails.
    pub fn start(cluster: &Cluster, delivery: &Delivery, credentials: &Credentials) -> Result<Self, Whatever> {
        let archive = minio_archive().whatever_context("cannot build MinIO")?;
        let image = deliver(delivery, &archive, "minio", MINIO_IMAGE)?;
        let store = Self { cluster: cluster.clone(), image };
        store.exchange(credentials)?;
        Ok(store)
    }

    /// Restarts the store with other credentials: those of before are refused from then on.
    ///
    /// # Errors
    /// What kubectl says.
    pub fn exchange(&self, credentials: &Credentials) -> Result<(), Whatever> {
        let manifest = include_str!("minio.yaml")
            .replace("KEY_ID", &credentials.key_id)
            .replace("SECRET_KEY", &credentials.secret)
            .replace("MINIO_IMAGE", &self.image);
        apply(&self.cluster, &manifest)?;
        let rollout = ["rollout", "status", "deployment/minio", "-n", NAMESPACE, "--timeout=90s"];
        self.cluster.kubectl(&rollout).whatever_context("the object store doesn't come up")?;
        Ok(())
    }

    /// Deletes the store with everything that it holds.
    ///
    /// # Errors
    /// What kubectl says.
    pub fn remove(self) -> Result<(), Whatever> {
        delete(&self.cluster, "namespace", "", NAMESPACE)?;
        wait_gone(&self.cluster, "namespace", "", NAMESPACE, Duration::from_mins(2))
    }

    /// Address of the store, as pods see it.
    #[must_use]
    pub fn endpoint(&self) -> &'static str {
        ENDPOINT
    }

    /// Makes a bucket, unless it is there.
    ///
    /// # Errors
    /// What the store says.
    pub fn bucket(&self, name: &str, credentials: &Credentials) -> Result<(), Whatever> {
        let forward = PortForward::start(&self.cluster, NAMESPACE, "service/minio", 9000)?;
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "20", "--retry", "5", "--retry-all-errors"])
            .args(["--request", "PUT", "--write-out", "%{http_code}", "--aws-sigv4", "aws:amz:us-east-1:s3"])
            .args(["--user", &format!("{}:{}", credentials.key_id, credentials.secret)])
            .arg(format!("http://127.0.0.1:{}/{name}", forward.port()))
            .output()
            .whatever_context("cannot start curl")?;
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        if answer.ends_with("200") || answer.contains("BucketAlreadyOwnedByYou") {
            return Ok(());
        }
        whatever!("the store makes no bucket {name}: {answer}{}", String::from_utf8_lossy(&output.stderr));
    }
}
