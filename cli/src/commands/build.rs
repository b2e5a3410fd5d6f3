//! `build`: a bundle from a build definition.

use std::io;
use std::path::PathBuf;

use bundle::build::{BuildError, Step, build};
use bundle::definition::{Definition, DefinitionError};
use bundle::image::source::{ImageSource, SourceError};
use bundle::stream::Limits;
use clap::Args;
use snafu::{ResultExt, Snafu};

use crate::download::{Download, DownloadError};
use crate::output::{Json, Output, warning};
use crate::saved::{Mode, SaveError, Unsaved, folder};

/// Arguments of `build`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The build definition
    #[arg(long = "build-definition-file", value_name = "FILE")]
    definition: PathBuf,
    /// Where <name>-<version>.dcos is written [default: the working directory]
    #[arg(long, value_name = "DIRECTORY")]
    output_directory: Option<PathBuf>,
    /// Where to take images from: oci:DIRECTORY, oci-archive:FILE or docker-archive:FILE; can be given several times
    #[arg(long, value_name = "SOURCE")]
    images: Vec<String>,
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
    /// Nothing can be downloaded.
    #[snafu(display("{source}"))]
    Client {
        /// Why.
        source: DownloadError,
    },
    /// Something is missing or wrong.
    #[snafu(display("{source}"))]
    Build {
        /// Why.
        source: BuildError<DownloadError>,
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
    let mut download = Download::new(folder(output_directory)).context(ClientSnafu)?;
    let coordinate = definition.coordinate();
    let name = format!("{}-{}.dcos", coordinate.name, coordinate.version);
    let mut file = Unsaved::start(output_directory, &name).context(SaveSnafu)?;
    let mut said = Ok(());
    build(&definition, &mut sources, &mut download, BUILT_BY, io::BufWriter::new(file.file()), &mut |step| {
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
        Step::Saving(images) => output.line(&format!("Saving docker images [{}]", images.join(" "))),
        Step::EmptyAddress(key) => {
            warning(&format!("{key} is empty: it stays as it is, nothing is fetched"));
            Ok(())
        }
    }
}
