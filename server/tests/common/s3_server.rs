//! S3 servers that a test process starts for itself: real ones, by other people, on loopback.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use server::storage::s3::{CredentialsSource, S3Config};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::process::Process;
use super::skip::skip;
use super::until::until;

/// Who may do everything on these servers.
pub const KEY_ID: &str = "package-registry";
pub const SECRET: &str = "package-registry-tests";
/// The key that `MinIO` encrypts with.
pub const KMS_KEY: &str = "registry-key";
/// The bucket that is there.
pub const BUCKET: &str = "registry-tests";

/// Which server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Minio,
    Versitygw,
}

impl Kind {
    /// Every server.
    pub const ALL: [Self; 2] = [Self::Minio, Self::Versitygw];

    fn variable(self) -> &'static str {
        match self {
            Self::Minio => "PACKAGE_REGISTRY_TEST_MINIO",
            Self::Versitygw => "PACKAGE_REGISTRY_TEST_VERSITYGW",
        }
    }

    fn command(self) -> &'static str {
        match self {
            Self::Minio => r#""$PROGRAM" server --quiet --address "$ADDRESS" "$FOLDER/data""#,
            Self::Versitygw => r#""$PROGRAM" --quiet --port "$ADDRESS" posix "$FOLDER/data""#,
        }
    }

    /// The server of this process, started when it is first asked for; `None`, with a word, where no program is named.
    pub async fn server(self) -> Option<&'static S3Server> {
        static MINIO: OnceCell<Option<S3Server>> = OnceCell::const_new();
        static VERSITYGW: OnceCell<Option<S3Server>> = OnceCell::const_new();
        let cell = match self {
            Self::Minio => &MINIO,
            Self::Versitygw => &VERSITYGW,
        };
        let server = cell.get_or_init(|| async {
            let program = std::env::var_os(self.variable())?;
            Some(S3Server::start(self, program.into()).await)
        });
        let server = server.await.as_ref();
        if server.is_none() {
            skip(&format!("{} names no program; `make test-unit` builds it and sets it", self.variable()));
        }
        server
    }
}

/// A running server.
pub struct S3Server {
    pub address: SocketAddr,
    folder: PathBuf,
    /// A shell that ends the server, by its id, and removes its folder when this process ends, however it ends.
    _keeper: Child,
}

impl S3Server {
    async fn start(kind: Kind, program: PathBuf) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap().keep();
        std::fs::create_dir(folder.join("data")).unwrap();
        let credentials = format!("[default]\naws_access_key_id={KEY_ID}\naws_secret_access_key={SECRET}\n");
        std::fs::write(folder.join("credentials"), credentials).unwrap();
        let address = free_address();
        let script = format!(
            r#"{} >"$FOLDER/log" 2>&1 & server=$!
            cat >/dev/null
            kill "$server"; wait "$server"; rm -rf "$FOLDER""#,
            kind.command()
        );
        let keeper = Command::new("sh")
            .args(["-c", &script])
            .env("PROGRAM", program)
            .env("ADDRESS", address.to_string())
            .env("FOLDER", &folder)
            .envs([("MINIO_ROOT_USER", KEY_ID), ("MINIO_ROOT_PASSWORD", SECRET), ("MINIO_BROWSER", "off")])
            .env("MINIO_KMS_SECRET_KEY", format!("{KMS_KEY}:{}", STANDARD.encode([7; 32])))
            .envs([("ROOT_ACCESS_KEY", KEY_ID), ("ROOT_SECRET_KEY", SECRET)])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let server = Self { address, folder, _keeper: keeper };
        server.wait(kind).await;
        server
    }

    async fn wait(&self, kind: Kind) {
        let client = self.client();
        let answers = until("it answers", async || {
            TcpStream::connect(self.address).is_ok() && client.create_bucket().bucket(BUCKET).send().await.is_ok()
        });
        if tokio::time::timeout(Duration::from_secs(30), answers).await.is_err() {
            let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            panic!("{kind:?} doesn't answer:\n{log}");
        }
    }

    /// Talks to the server without the code that is tested.
    pub fn client(&self) -> Client {
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(format!("http://{}", self.address))
            .force_path_style(true)
            .credentials_provider(Credentials::new(KEY_ID, SECRET, None, None, "tests"));
        Client::from_conf(config.build())
    }

    /// Keys of everything in a store's part of the bucket.
    pub async fn objects(&self, config: &S3Config) -> Vec<String> {
        let listed =
            self.client().list_objects_v2().bucket(BUCKET).prefix(config.location.root()).send().await.unwrap();
        listed.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
    }

    /// How many uploads in parts are there of these objects. Each is asked for by its whole key: `MinIO` lists no others.
    pub async fn unfinished(&self, keys: &[String]) -> usize {
        let mut count = 0;
        for key in keys {
            let listed = self.client().list_multipart_uploads().bucket(BUCKET).prefix(key).send().await.unwrap();
            count += listed.uploads().len();
        }
        count
    }

    /// A registry's server in a process of its own, on that part of the bucket. The environment has the credentials.
    pub fn process(config: &S3Config) -> Process {
        Self::process_in(config, &[("AWS_ACCESS_KEY_ID", KEY_ID), ("AWS_SECRET_ACCESS_KEY", SECRET)])
    }

    /// A registry's server whose environment has this and nothing else.
    pub fn process_in(config: &S3Config, environment: &[(&str, &str)]) -> Process {
        let location = &config.location;
        let endpoint = config.endpoint.as_ref().unwrap().as_str();
        let flags = [
            format!("--storage=s3://{}/{}", location.bucket(), location.root()),
            format!("--s3-endpoint={endpoint}"),
            "--require-coordination".to_owned(),
        ];
        Process::with(&flags, |command| command.env_clear().envs(environment.iter().copied()))
    }

    /// A store in a part of the bucket that nobody else has.
    pub fn config(&self) -> S3Config {
        self.config_at(self.address, &format!("tests/{}", Uuid::new_v4()))
    }

    /// A store under a path, reached at another address than the server's own.
    pub fn config_at(&self, address: SocketAddr, path: &str) -> S3Config {
        let location = format!("s3://{BUCKET}/{path}").parse().unwrap();
        let source = CredentialsSource { file: self.folder.join("credentials"), profile: "default".into() };
        let endpoint = Some(format!("http://{address}").parse().unwrap());
        S3Config { credentials: Some(source), ..S3Config::new(location, endpoint) }
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
