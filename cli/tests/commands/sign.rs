//! `sign`, and `verify` with keys, by themselves and against the real cosign where it is there.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::cosign::Cosign;
use crate::program::{Ran, fail, finish, names, program, read_bundle, run, succeed};

const FILE: &str = "sample-1.dcos";

fn built(folder: &Path) {
    fs::write(folder.join("a.txt"), "a").unwrap();
    let definition = json!({"packagingVersion": "4.0", "name": "sample", "version": "1", "maintainer": "", "description": "",
        "tags": [], "resource": {"assets": {"uris": {"a": "a.txt"}}}});
    fs::write(folder.join("definition.json"), definition.to_string()).unwrap();
    succeed(folder, &["registry", "build", "--build-definition-file=definition.json"]);
}

/// A key pair of openssl: `<name>.key` and `<name>.pub`.
fn keys(folder: &Path, name: &str) {
    let openssl = |arguments: &[&str]| {
        let done = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let (key, public) = (format!("{name}.key"), format!("{name}.pub"));
    openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &key]);
    openssl(&["pkey", "-in", &key, "-pubout", "-out", &public]);
}

#[cfg(unix)]
#[test]
fn who_may_read_a_package_may_read_it_signed() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    built(path);
    keys(path, "one");
    fs::set_permissions(path.join(FILE), fs::Permissions::from_mode(0o640)).unwrap();
    succeed(path, &["registry", "sign", FILE, "--key=one.key"]);
    assert_eq!(fs::metadata(path.join(FILE)).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_signature_goes_into_the_package_and_nothing_else_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    built(path);
    keys(path, "one");
    keys(path, "two");
    let before = fs::read(path.join(FILE)).unwrap();
    let digest = read_bundle(&path.join(FILE)).content_digest;
    fail(path, &["registry", "verify", FILE, "--key=one.pub"], &[FILE, "no signature"]);
    assert_eq!(succeed(path, &["registry", "sign", FILE, "--key=one.key"]).out, format!("Created signature {FILE}\n"));
    let after = fs::read(path.join(FILE)).unwrap();
    let bundle = read_bundle(&path.join(FILE));
    assert_eq!((bundle.content_digest.as_str(), bundle.signatures.len()), (digest.as_str(), 1));
    let kept = before.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    let entries = before.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    assert!(kept >= entries && after[..entries] == before[..entries], "the entries stay byte for byte");
    let ran = succeed(path, &["registry", "verify", FILE, "--key=one.pub"]);
    assert!(ran.out.contains("Signed with one.pub"), "{}", ran.out);
    fail(path, &["registry", "verify", FILE, "--key=two.pub"], &[FILE, "two.pub is not the key", &digest]);
    // Signing again changes nothing; another key adds its own.
    let ran = succeed(path, &["registry", "sign", FILE, "--key=one.key"]);
    assert!(ran.err.contains("already") && fs::read(path.join(FILE)).unwrap() == after);
    succeed(path, &["registry", "sign", FILE, "--key=two.key", "--json"]);
    let ran = succeed(path, &["registry", "verify", FILE, "--key=two.pub", "--key=one.pub", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap()["signedWith"], json!(["two.pub", "one.pub"]));
    assert_eq!(read_bundle(&path.join(FILE)).signatures.len(), 2);
    assert!(!names(path).iter().any(|name| name.starts_with('.')), "nothing is left over");
}

#[test]
fn a_signature_can_lie_beside_the_package() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    built(path);
    keys(path, "one");
    let before = fs::read(path.join(FILE)).unwrap();
    succeed(path, &["registry", "sign", FILE, "--key=one.key", "--output=a.sig", "--bundle=a.json"]);
    assert_eq!(fs::read(path.join(FILE)).unwrap(), before);
    for signature in ["--signature=a.sig", "--signature=a.json"] {
        succeed(path, &["registry", "verify", FILE, "--key=one.pub", signature]);
    }
    fs::write(path.join("b.sig"), "not base64!").unwrap();
    fail(path, &["registry", "verify", FILE, "--key=one.pub", "--signature=b.sig"], &["b.sig", "base64"]);
    fail(path, &["registry", "verify", FILE, "--key=a.txt"], &["a.txt", "not a public key"]);
    fail(path, &["registry", "sign", FILE, "--key=one.pub"], &["one.pub", "not a private key", "PUBLIC KEY"]);
    fail(path, &["registry", "sign", "definition.json", "--key=one.key"], &["definition.json", "not a ZIP file"]);
    assert_eq!(run(path, &["registry", "verify", FILE, "--signature=a.sig"]).code, 2, "a signature needs a key");
    let other = fs::read(path.join("a.txt")).unwrap();
    fs::write(path.join("a.txt"), [&other[..], b"!"].concat()).unwrap();
    succeed(path, &["registry", "build", "--build-definition-file=definition.json"]);
    fail(path, &["registry", "verify", FILE, "--key=one.pub", "--signature=a.json"], &["is not the key that signed"]);
}

fn with_password(folder: &Path, arguments: &[&str]) -> Ran {
    finish(program(folder, arguments).env("COSIGN_PASSWORD", "a password"))
}

#[test]
fn cosign_accepts_our_signatures_and_we_accept_those_of_cosign() {
    let Some(cosign) = Cosign::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    built(path);
    cosign.succeed(path, &["generate-key-pair"]);
    let content = succeed(path, &["registry", "inspect", FILE, "--content"]).out;
    fs::write(path.join("content.json"), content).unwrap();
    // Ours, with cosign's own key and with openssl's.
    keys(path, "one");
    for (key, public) in [("cosign.key", "cosign.pub"), ("one.key", "one.pub")] {
        let key = format!("--key={key}");
        let ran = with_password(path, &["registry", "sign", FILE, &key, "--output=ours.sig", "--bundle=ours.json"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let verify = ["verify-blob", "--insecure-ignore-tlog", "--key", public];
        cosign.succeed(path, &[&verify[..], &["--bundle", "ours.json", "content.json"]].concat());
        cosign.succeed(path, &[&verify[..], &["--signature", "ours.sig", "content.json"]].concat());
        let other = cosign.run(path, &[&verify[..], &["--signature", "ours.sig", "definition.json"]].concat());
        assert!(!other.status.success(), "cosign looks at the content");
    }
    // Its: a bundle, and the signature alone.
    let sign = ["sign-blob", "--yes", "--key", "cosign.key", "--use-signing-config=false", "--tlog-upload=false"];
    cosign.succeed(path, &[&sign[..], &["--bundle", "its.json", "content.json"]].concat());
    let old = ["--new-bundle-format=false", "--output-signature", "its.sig", "content.json"];
    cosign.succeed(path, &[&sign[..], &old].concat());
    for signature in ["--signature=its.json", "--signature=its.sig"] {
        succeed(path, &["registry", "verify", FILE, "--key=cosign.pub", signature]);
        fail(path, &["registry", "verify", FILE, "--key=one.pub", signature], &["is not the key"]);
    }
    let ran = finish(program(path, &["registry", "sign", FILE, "--key=cosign.key"]).env("COSIGN_PASSWORD", "another"));
    assert!(ran.code == 1 && ran.err.contains("COSIGN_PASSWORD is another"), "{}", ran.err);
}
