//! Pulls and pushes beside CNCF Distribution: the server on one core, its clients on another.

use std::{fs, io, net::SocketAddr, path::Path, process::Command, time::Duration};

use e2e::cluster::TOOLS;
use serde_json::json;
use snafu::{OptionExt as _, ResultExt as _, Whatever};

use crate::{
    load::{self, Blobs},
    programs::{Serving, output, release, warm},
    row::{Mark, Row, median},
};

const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_secs(2);
const MB: usize = 1_000_000;

/// What is measured: a name, its unit.
const FIGURES: [(&str, &str); 9] = [
    ("push of 1 MB, 4 clients", "MB/s"),
    ("push of 10 MB, 4 clients", "MB/s"),
    ("push of 100 MB, 4 clients", "MB/s"),
    ("push of 100 MB in 10 pieces", "MB/s"),
    ("GET of a blob of 1 KiB, 16 connections", "requests/s"),
    ("GET of 1 MB, 4 connections", "MB/s"),
    ("GET of 10 MB, 4 connections", "MB/s"),
    ("GET of 100 MB, 4 connections", "MB/s"),
    ("GET of a manifest by its tag, 8 connections", "requests/s"),
];

/// A row for each figure.
pub fn rows() -> Result<Vec<Row>, Whatever> {
    let server = release("package-registry-server")?;
    let tool = TOOLS.iter().find(|tool| tool.name == "distribution").whatever_context("distribution is no tool")?;
    let distribution = tool.ensure().whatever_context("no distribution")?;
    // The clients' core; the servers get the other one.
    let own = std::process::id().to_string();
    output(Command::new("taskset").args(["-a", "-c", "-p", "1", &own]))?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for turn in 0..2 {
            if (turn + round) % 2 == 0 {
                ours.push(figures(&Serving::ours_on_a_core(&server)?)?);
            } else {
                theirs.push(figures(&Serving::distribution(&distribution)?)?);
            }
        }
        eprintln!("round {} of {ROUNDS}", round + 1);
    }
    output(Command::new("taskset").args(["-a", "-c", "-p", "0-1", &own]))?;
    let middle = |rounds: &[[f64; 9]], figure: usize| median(rounds.iter().map(|round| round[figure]).collect());
    let row = |(figure, (what, unit)): (usize, &(&str, &'static str))| Row {
        what: format!("{what}, beside distribution, median of {ROUNDS}"),
        unit,
        ours: middle(&ours, figure),
        other: middle(&theirs, figure),
        mark: Mark::Least(1.0),
    };
    Ok(FIGURES.iter().enumerate().map(row).collect())
}

fn figures(serving: &Serving) -> Result<[f64; 9], Whatever> {
    let host = serving.address();
    let mut found = [0.0; 9];
    for (figure, (count, size, pieces)) in
        [(100, MB, 0), (32, 10 * MB, 0), (8, 100 * MB, 0), (4, 100 * MB, 10)].into_iter().enumerate()
    {
        // Other bytes for the pieces, for what is there needn't be written.
        let blobs = Blobs::make(count, size + pieces).whatever_context("no blobs")?;
        warm(count * size as u64 / 2)?;
        found[figure] = blobs.push(host, 4, pieces).whatever_context("a push failed")?.megabytes;
        if pieces == 0 {
            let path = format!("/v2/measured/0/blobs/{}", blobs.digest());
            let rate = load::get(host, &path, "", 4, TIME).whatever_context("a pull failed")?;
            found[5 + figure] = rate.megabytes;
        }
    }
    let small = Blobs::make(1, 1024).whatever_context("no blobs")?;
    small.push(host, 1, 0).whatever_context("a push failed")?;
    let path = format!("/v2/measured/0/blobs/{}", small.digest());
    found[4] = load::get(host, &path, "", 16, TIME).whatever_context("a pull failed")?.requests;
    found[8] = by_tag(host, &small).whatever_context("a pull of a manifest failed")?;
    Ok(found)
}

fn by_tag(host: SocketAddr, blob: &Blobs) -> io::Result<f64> {
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let descriptor = |kind: &str| json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": blob.digest(), "size": blob.size()});
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type, "config": descriptor("config.v1+json"),
        "layers": [descriptor("layer.v1.tar")],
    });
    let path = "/v2/measured/0/manifests/latest";
    load::put_manifest(host, path, media_type, &manifest.to_string())?;
    Ok(load::get(host, path, &format!("Accept: {media_type}\r\n"), 8, TIME)?.requests)
}

/// Distribution's configuration: files below `folder`, errors alone in its log.
pub fn configuration(folder: &Path, address: SocketAddr) -> Result<std::path::PathBuf, Whatever> {
    let path = folder.join("distribution.yml");
    let text = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
         http: {{addr: '{address}'}}\n",
        folder.join("store").display()
    );
    fs::write(&path, text).whatever_context("cannot write distribution's configuration")?;
    Ok(path)
}
