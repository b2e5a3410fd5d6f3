//! Signatures of images, from one registry into another one that has no connection to it, by the real cosign where it is
//! there.

use std::fs;

use serde_json::json;

use crate::add::call;
use crate::cosign::Cosign;
use crate::packages::built;
use crate::program::{read_bundle, succeed};
use crate::server::Server;

/// As people signed before cosign 3: under a tag beside the image, without a log.
const OLD_FORM: [&str; 5] =
    ["--yes", "--key=cosign.key", "--use-signing-config=false", "--new-bundle-format=false", "--tlog-upload=false"];

#[test]
fn what_cosign_keeps_under_tags_beside_an_image_is_right_where_the_package_is_added() {
    let Some(cosign) = Cosign::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (outside, inside) = (Server::start(), Server::start());
    let certificates = [&outside, &inside].map(|server| fs::read_to_string(server.ca_file()).unwrap());
    fs::write(path.join("ca.pem"), certificates.concat()).unwrap();
    let add = |server: &Server, file: &str| {
        let ran = call(path, server, server.port, &["add", &format!("--dcos-file={file}"), "--json", "--wait"]);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    };

    // An image outside, signed, attested and with an SBOM.
    let digest = read_bundle(&built(path, "outside", "1", &[], &[b"layer"])).images[0].target.digest.clone();
    add(&outside, "outside-1.dcos");
    let repository = format!("localhost:{}/docker.io/acme/web", outside.port);
    let image = format!("{repository}@{digest}");
    cosign.succeed(path, &["generate-key-pair"]);
    cosign.succeed(path, &[&["sign"], &OLD_FORM[..], &[&image]].concat());
    fs::write(path.join("sbom.json"), r#"{"spdxVersion":"SPDX-2.3"}"#).unwrap();
    let spdx = ["--type=spdxjson", "--predicate=sbom.json", &image];
    cosign.succeed(path, &[&["attest"], &OLD_FORM[..], &spdx].concat());
    cosign.succeed(path, &["attach", "sbom", "--sbom=sbom.json", "--type=spdx", &image]);

    // Two packages with it, with its signatures and without.
    let hosts = path.join("hosts").join(format!("localhost:{}", outside.port));
    fs::create_dir_all(&hosts).unwrap();
    fs::copy(outside.ca_file(), hosts.join("ca.crt")).unwrap();
    for (name, referrers) in [("plain", None), ("signed", Some("--referrers"))] {
        let definition = json!({"packagingVersion": "4.0", "name": name, "version": "1", "maintainer": "", "description": "",
            "tags": [], "resource": {"assets": {"container": {"docker": {"main": format!("{repository}:1")}}}}});
        fs::write(path.join("definition.json"), definition.to_string()).unwrap();
        let build = ["registry", "build", "--build-definition-file=definition.json", "--hosts-dir=hosts"];
        succeed(path, &build.into_iter().chain(referrers).collect::<Vec<_>>());
    }
    let within = format!("localhost:{}/localhost-{}/docker.io/acme/web:1", inside.port, outside.port);
    drop(outside);

    let verify = ["verify", "--key=cosign.pub", "--insecure-ignore-tlog", &within];
    add(&inside, "plain-1.dcos");
    let unsigned = cosign.run(path, &verify);
    let said = String::from_utf8_lossy(&unsigned.stderr);
    assert!(!unsigned.status.success() && said.contains("no signatures found"), "{said}");
    add(&inside, "signed-1.dcos");
    cosign.succeed(path, &verify);
    let attestation = ["verify-attestation", "--key=cosign.pub", "--insecure-ignore-tlog", "--type=spdxjson", &within];
    cosign.succeed(path, &attestation);
    cosign.succeed(path, &["download", "sbom", "--output-file=again.json", &within]);
    let [sent, come] = ["sbom.json", "again.json"].map(|file| fs::read_to_string(path.join(file)).unwrap());
    assert_eq!(come.trim(), sent);
    // With the package, they go.
    let ran = call(path, &inside, inside.port, &["remove", "--package-name=signed", "--package-version=1"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(!cosign.run(path, &verify).status.success());
}
