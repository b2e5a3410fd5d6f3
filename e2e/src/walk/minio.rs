//! A real object store in the cluster, for registries that keep their content in a bucket.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use snafu::{OptionExt as _, ResultExt as _, Whatever, whatever};

use super::{apply, deliver, images::Delivery};
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
        let forward = Forward::start(&self.cluster)?;
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "20", "--retry", "5", "--retry-all-errors"])
            .args(["--request", "PUT", "--write-out", "%{http_code}", "--aws-sigv4", "aws:amz:us-east-1:s3"])
            .args(["--user", &format!("{}:{}", credentials.key_id, credentials.secret)])
            .arg(format!("http://127.0.0.1:{}/{name}", forward.port))
            .output()
            .whatever_context("cannot start curl")?;
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        if answer.ends_with("200") || answer.contains("BucketAlreadyOwnedByYou") {
            return Ok(());
        }
        whatever!("the store makes no bucket {name}: {answer}{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A port of this machine that leads to the store, as long as this lives.
struct Forward {
    child: Child,
    port: u16,
}

impl Forward {
    fn start(cluster: &Cluster) -> Result<Self, Whatever> {
        let mut command = cluster.kubectl_command();
        command.args(["port-forward", "-n", NAMESPACE, "service/minio", ":9000"]);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().whatever_context("cannot start kubectl")?;
        let output = child.stdout.take().whatever_context("kubectl has no standard output")?;
        let mut forward = Self { child, port: 0 };
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line).whatever_context("kubectl port-forward said nothing")?;
        // kubectl says each connection and would end with the pipe.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        let port = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
        forward.port = port.whatever_context(format!("kubectl port-forward said: {line}"))?;
        Ok(forward)
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
