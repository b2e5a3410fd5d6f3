//! `build`: a bundle from a build definition.

use std::io;
use std::path::PathBuf;

use bundle::build::{BuildError, Options, Step, build};
use bundle::definition::{Definition, DefinitionError};
use bundle::image::platform::Platform;
use bundle::image::source::{ImageSource, SourceError};
use bundle::stream::Limits;
use clap::Args;
use snafu::{ResultExt, Snafu};

use crate::output::{Json, Output, warning};
use crate::registry::{Hosts, HostsError};
use crate::saved::{Mode, SaveError, Unsaved};
use crate::supply::{Images, Supply, SupplyError};

/// Arguments of `build`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The build definition
    #[arg(long = "build-definition-file", value_name = "FILE")]
    definition: PathBuf,
    /// Where <name>-<version>.dcos is written, made if need be [default: the working directory]
    #[arg(long, value_name = "DIRECTORY")]
    output_directory: Option<PathBuf>,
    /// Where to look for images first: oci:DIRECTORY, oci-archive:FILE or docker-archive:FILE; can be given several times
    #[arg(long, value_name = "SOURCE")]
    images: Vec<String>,
    /// Take images from the docker engine or containerd of this machine, pull nothing
    #[arg(long, conflicts_with_all = ["platforms", "hosts_dir", "referrers"])]
    use_local: bool,
    /// Pull images for this platform only (OS/ARCHITECTURE[/VARIANT]); can be given several times [default: all]
    ///
    /// Of an index, the one manifest that matches becomes the image, under its own digest; where several match, an index
    /// without the others becomes the image, under a digest of its own. An image that is named by the digest of an index stays
    /// whole, or it would not be what was named.
    #[arg(long = "platform", value_name = "PLATFORM")]
    platforms: Vec<Platform>,
    /// Mirrors, private CAs and plain-HTTP registries: a folder in containerd's form, with HOST/hosts.toml
    ///
    /// `_default/hosts.toml` is for all other hosts. Without it every image is pulled from its own registry, by TLS unless
    /// that is on this machine (localhost). Credentials come from the docker configuration and its helpers.
    #[arg(long, value_name = "DIRECTORY")]
    hosts_dir: Option<PathBuf>,
    /// Take what belongs to the images, too: signatures, attestations, SBOMs
    ///
    /// What is signed stays signed on the way into an air gap. Taken is what registries list by its subject, and what cosign
    /// keeps beside an image under the tags `sha256-….sig`, `.att` and `.sbom`. Of images from --images, what their index lists
    /// beside them is taken: without a name what refers to them, and those tags under their whole names.
    #[arg(long)]
    referrers: bool,
    #[command(flatten)]
    json: Json,
}

const BUILT_BY: &str = concat!("dcos-registry ", env!("CARGO_PKG_VERSION"));

/// Why there is no bundle.
#[derive(Debug, Snafu)]
pub enum BuildCommandError {
    /// The build definition is wrong.
    #[snafu(display("{source}"))]
    Definition {
        /// Why.
        source: DefinitionError,
    },
    /// What `--images` says is wrong.
    #[snafu(display("--images: {source}"))]
    Images {
        /// Why.
        source: SourceError,
    },
    /// What `--hosts-dir` says is wrong.
    #[snafu(display("--hosts-dir: {source}"))]
    HostsDir {
        /// Why.
        source: HostsError,
    },
    /// Nothing can be downloaded.
    #[snafu(display("{source}"))]
    Supply {
        /// Why.
        source: SupplyError,
    },
    /// Something is missing or wrong.
    #[snafu(display("{source}"))]
    Build {
        /// Why.
        source: BuildError<SupplyError>,
    },
    /// The bundle can't be written.
    #[snafu(display("{source}"))]
    Save {
        /// Why.
        source: SaveError,
    },
    /// Standard output is gone.
    #[snafu(display("standard output: {source}"))]
    Write {
        /// Why.
        source: io::Error,
    },
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<(), BuildCommandError> {
    let output = Output::from(arguments.json);
    let definition = Definition::read(&arguments.definition).context(DefinitionSnafu)?;
    let limits = Limits::default();
    let open = |given: &String| ImageSource::open(given, &limits);
    let mut sources: Vec<_> = arguments.images.iter().map(open).collect::<Result<_, _>>().context(ImagesSnafu)?;
    let output_directory = &arguments.output_directory.clone().unwrap_or_default();
    let images = if arguments.use_local {
        Images::Engine
    } else {
        let hosts = Hosts::new(arguments.hosts_dir.clone()).context(HostsDirSnafu)?;
        Images::Registries { hosts, platforms: arguments.platforms.clone(), referrers: arguments.referrers }
    };
    let mut supply = Supply::new(images).context(SupplySnafu)?;
    let coordinate = definition.coordinate();
    let name = format!("{}-{}.dcos", coordinate.name, coordinate.version);
    let mut file = Unsaved::start(output_directory, &name).context(SaveSnafu)?;
    let mut said = Ok(());
    let options = Options { built_by: BUILT_BY, referrers: arguments.referrers };
    build(&definition, &mut sources, &mut supply, options, io::BufWriter::new(file.file()), &mut |step| {
        if said.is_ok() {
            said = say(output, &step);
        }
    })
    .context(BuildSnafu)?;
    said.context(WriteSnafu)?;
    let path = file.keep(Mode::Private).context(SaveSnafu)?;
    output.created("DC/OS Universe Package", &path).context(WriteSnafu)
}

fn say(output: Output, step: &Step) -> io::Result<()> {
    match step {
        Step::Fetching(address) => output.line(&format!("Fetching {address}")),
        Step::Pulling(image) => output.line(&format!("Pulling {image}")),
        Step::Saving(images) => output.line(&format!("Saving docker images [{}]", images.join(" "))),
        Step::EmptyAddress(key) => {
            warning(&format!("{key} is empty: it stays as it is, nothing is fetched"));
            Ok(())
        }
    }
}
