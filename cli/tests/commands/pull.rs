//! `build` pulls images from registries.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bundle::model::Bundle;
use serde_json::{Value, json};

use crate::program::{cache, fail, finish, hex, names, noise, program, read_bundle, run, succeed};
use crate::registry::{Authority, Behaviour, CHUNK, CONFIG, Demand, INDEX, LAYER, MANIFEST, Registry, beside};

fn define(folder: &Path, images: &[&str]) {
    let docker: serde_json::Map<String, Value> =
        images.iter().enumerate().map(|(index, image)| (format!("i{index}"), json!(image))).collect();
    let definition = json!({"packagingVersion": "4.0", "name": "sample", "version": "1", "maintainer": "", "description": "",
        "tags": [], "resource": {"assets": {"container": {"docker": docker}}}});
    fs::write(folder.join("definition.json"), definition.to_string()).unwrap();
}

const BUILD: [&str; 3] = ["registry", "build", "--build-definition-file=definition.json"];

fn build(folder: &Path, more: &[&str]) -> Bundle {
    succeed(folder, &[&BUILD[..], more].concat());
    read_bundle(&folder.join("sample-1.dcos"))
}

#[test]
fn images_come_with_all_their_platforms_and_a_second_build_asks_for_no_blob_again() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(Behaviour::default());
    let (shared, own) = (noise(1, 100_000), noise(2, 50_000));
    let children = [
        registry.image("acme/web", None, "amd64", &[&shared, &own]),
        registry.image("acme/web", None, "arm64", &[&shared]),
    ];
    let index = registry.index("acme/web", "1", &children);
    let other = registry.image("acme/db", Some("latest"), "amd64", &[&shared]);
    let (web, db) = (format!("{}/acme/web:1", registry.host), format!("{}/acme/db", registry.host));
    define(folder.path(), &[&web, &db, &web]);
    let ran = succeed(folder.path(), &BUILD);
    let lines = format!(
        "Pulling {web}\nPulling {db}\nSaving docker images [{web} {db}]\nCreated DC/OS Universe Package sample-1.dcos\n"
    );
    assert_eq!(ran.out, lines);
    let first = fs::read(folder.path().join("sample-1.dcos")).unwrap();
    let bundle = read_bundle(&folder.path().join("sample-1.dcos"));
    assert_eq!(bundle.images[0].target.digest, index["digest"]);
    assert_eq!(bundle.images[0].platforms, ["linux/amd64", "linux/arm64"]);
    assert_eq!(bundle.images[1].target.digest, other["digest"]);
    let mut blobs = registry.asked_blobs();
    assert_eq!(blobs.len(), 4, "two configs and two layers, each once");
    blobs.dedup();
    assert_eq!(blobs.len(), 4);
    succeed(folder.path(), &BUILD);
    assert_eq!(registry.asked_blobs().len(), 4);
    assert_eq!(fs::read(folder.path().join("sample-1.dcos")).unwrap(), first);
    assert_eq!(names(folder.path()), ["definition.json", "sample-1.dcos"]);
}

#[test]
fn with_platforms_only_what_is_wanted_is_pulled_under_digests_that_are_true() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(Behaviour::default());
    let children: Vec<_> = [("amd64", 1), ("arm64", 2), ("s390x", 3)]
        .map(|(architecture, seed)| registry.image("acme/web", None, architecture, &[&noise(seed, 1000)]))
        .into();
    let index = registry.index("acme/web", "1", &children);
    let image = format!("{}/acme/web:1", registry.host);
    define(folder.path(), &[&image]);
    let one = build(folder.path(), &["--platform=linux/arm64"]);
    assert_eq!(one.images[0].target.digest, children[1]["digest"]);
    assert_eq!(registry.asked_blobs().len(), 2);
    let two = build(folder.path(), &["--platform=linux/amd64", "--platform", "linux/s390x"]);
    assert_eq!(two.images[0].platforms, ["linux/amd64", "linux/s390x"]);
    assert_ne!(two.images[0].target.digest, index["digest"]);
    assert_eq!(two.images[0].manifests.len(), 3);
    let arguments = [&BUILD[..], &["--json", "--platform=windows/amd64"]].concat();
    fail(folder.path(), &arguments, &[&image, "windows/amd64", "linux/amd64, linux/arm64, linux/s390x"]);
    let ran = run(folder.path(), &[&BUILD[..], &["--platform=linux"]].concat());
    assert!(ran.code == 2 && ran.err.contains("OS/ARCHITECTURE"), "{}", ran.err);
    // What is named by an index's digest stays that index.
    define(folder.path(), &[&format!("{}/acme/web@{}", registry.host, index["digest"].as_str().unwrap())]);
    let ran = succeed(folder.path(), &[&BUILD[..], &["--platform=linux/arm64"]].concat());
    assert!(ran.err.contains("all its platforms"), "{}", ran.err);
    assert_eq!(read_bundle(&folder.path().join("sample-1.dcos")).images[0].target.digest, index["digest"]);
    // An image of one platform that is another than the wanted.
    registry.image("acme/one", Some("1"), "amd64", &[b"x"]);
    define(folder.path(), &[&format!("{}/acme/one:1", registry.host)]);
    let arguments = [&BUILD[..], &["--json", "--platform=linux/arm64"]].concat();
    fail(folder.path(), &arguments, &["acme/one:1", "linux/amd64"]);
}

/// A signature of each level, and one that refers to a signature; whether the registry lists them, or a tag does.
#[test]
fn what_refers_to_an_image_travels_with_it_when_it_is_wanted() {
    for listing in [Some(1), None] {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::start(Behaviour { referrers: listing, ..Behaviour::default() });
        let child = registry.image("acme/web", None, "amd64", &[b"layer"]);
        let index = registry.index("acme/web", "1", std::slice::from_ref(&child));
        let signatures = [&b"one"[..], b"two"].map(|layer| registry.referrer("acme/web", &index, layer));
        let of_child = registry.referrer("acme/web", &child, b"of the child");
        let of_signature = registry.referrer("acme/web", &signatures[1], b"of the signature");
        if listing.is_none() {
            for (subject, listed) in [
                (&index, &signatures[..]),
                (&child, std::slice::from_ref(&of_child)),
                // One that refers to something else is not what it is listed as.
                (&signatures[1], &[of_signature.clone(), of_child.clone()]),
                (&of_signature, &signatures[..]),
            ] {
                registry.index("acme/web", &subject["digest"].as_str().unwrap().replace(':', "-"), listed);
            }
        }
        define(folder.path(), &[&format!("{}/acme/web:1", registry.host)]);
        let bundle = build(folder.path(), &["--referrers"]);
        let image = &bundle.images[0];
        assert_eq!(image.target.digest, index["digest"]);
        let has = |wanted: &Value| image.manifests.iter().any(|manifest| manifest.digest == wanted["digest"]);
        assert!(signatures.iter().chain([&of_child, &of_signature]).all(has), "{:?}", image.manifests);
        assert_eq!(
            (image.manifests.len(), image.blobs.len()),
            (6, 2 + 4 + 1),
            "four layers, and one config for them all"
        );
        let first = fs::read(folder.path().join("sample-1.dcos")).unwrap();
        build(folder.path(), &["--referrers"]);
        assert_eq!(fs::read(folder.path().join("sample-1.dcos")).unwrap(), first);
        let without = build(folder.path(), &[]);
        assert_eq!((without.images[0].manifests.len(), &without.content_digest), (2, &bundle.content_digest));
        // From a folder that has them, as from the registry.
        succeed(folder.path(), &["registry", "build", "--build-definition-file=definition.json", "--referrers"]);
        succeed(folder.path(), &["registry", "extract", "sample-1.dcos", "--output-directory=out"]);
        let from_folder = build(folder.path(), &["--referrers", "--images=oci:out/images"]);
        assert_eq!(from_folder.images, bundle.images);
    }
}

#[test]
fn what_is_kept_under_tags_beside_an_image_travels_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(Behaviour { referrers: Some(10), ..Behaviour::default() });
    let child = registry.image("acme/web", None, "amd64", &[b"layer"]);
    let index = registry.index("acme/web", "1", std::slice::from_ref(&child));
    let listed = registry.referrer("acme/web", &index, b"listed");
    let kept: Vec<_> = [(&index, "sig"), (&index, "att"), (&child, "sbom"), (&listed, "sig")]
        .into_iter()
        .map(|(subject, kind)| {
            let layer = format!("{kind} of {subject}");
            (beside(subject, kind), registry.attachment("acme/web", subject, kind, layer.as_bytes()))
        })
        .collect();
    let of_kept = registry.attachment("acme/web", &kept[0].1, "sig", b"of the signature");
    // Another repository's is another image's.
    registry.attachment("acme/other", &child, "sig", b"elsewhere");
    // What is no manifest is nothing that can be kept.
    let foreign = registry.manifest("acme/web", "text/plain", &json!({}), Some(&beside(&child, "att")));
    define(folder.path(), &[&format!("{}/acme/web:1", registry.host)]);
    let ran = succeed(folder.path(), &[&BUILD[..], &["--referrers"]].concat());
    let left_out = format!("{} is left out: it has media type \"text/plain\"", foreign["digest"].as_str().unwrap());
    assert!(ran.err.contains(&left_out), "{}", ran.err);
    let bundle = read_bundle(&folder.path().join("sample-1.dcos"));
    let mut wanted = kept.clone();
    wanted.push((beside(&kept[0].1, "sig"), of_kept));
    wanted.sort_by(|(a, _), (b, _)| a.cmp(b));
    let found = &bundle.images[0].attachments;
    assert_eq!(found.len(), wanted.len(), "{found:?}");
    for (found, (tag, manifest)) in found.iter().zip(&wanted) {
        assert_eq!((&found.tag, json!(found.target.digest)), (tag, manifest["digest"].clone()));
    }
    assert_eq!((bundle.images.len(), bundle.images[0].manifests.len()), (1, 2 + 1 + wanted.len()));
    let first = fs::read(folder.path().join("sample-1.dcos")).unwrap();
    // From a folder that has them, as from the registry.
    succeed(folder.path(), &["registry", "extract", "sample-1.dcos", "--output-directory=out"]);
    let from_folder = build(folder.path(), &["--referrers", "--images=oci:out/images"]);
    assert_eq!(from_folder.images, bundle.images);
    assert_eq!(fs::read(folder.path().join("sample-1.dcos")).unwrap(), first);
    let without = build(folder.path(), &[]);
    assert!(without.images[0].attachments.is_empty() && without.content_digest == bundle.content_digest);
    // That there is no such tag is said by 404 and nothing else.
    registry.behave(|behaviour| behaviour.withheld = Some(".sbom"));
    let arguments = [&BUILD[..], &["--json", "--referrers"]].concat();
    fail(folder.path(), &arguments, &["tag sha256-", ".sbom", &registry.host, "403"]);
}

#[test]
fn an_image_to_which_nothing_refers_is_named_and_a_list_that_fails_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(Behaviour { referrers: Some(10), ..Behaviour::default() });
    registry.image("acme/web", Some("1"), "amd64", &[b"layer"]);
    let image = format!("{}/acme/web:1", registry.host);
    define(folder.path(), &[&image]);
    let referrers = [&BUILD[..], &["--json", "--referrers"]].concat();
    let ran = succeed(folder.path(), &referrers);
    assert!(ran.err.contains(&format!("{image}: nothing refers to it")), "{}", ran.err);
    registry.behave(|behaviour| behaviour.demand = Demand::Basic("me:secret"));
    define(
        folder.path(),
        &[&image
            .replace(":1", &format!("@{}", read_bundle(&folder.path().join("sample-1.dcos")).images[0].target.digest))],
    );
    fail(folder.path(), &referrers, &["referrers of sha256:", "401"]);
}

#[test]
fn an_index_that_refers_to_an_image_travels_with_its_manifests_and_what_refers_to_those() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(Behaviour { referrers: Some(10), ..Behaviour::default() });
    let image = registry.image("acme/web", Some("1"), "amd64", &[b"layer"]);
    let child = registry.image("acme/web", None, "arm64", &[b"of the index"]);
    let document = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [child], "subject": image});
    let index = registry.manifest("acme/web", INDEX, &document, None);
    registry.list(&image, &index);
    let signature = registry.referrer("acme/web", &child, b"of the child");
    // A form of drafts of the specification; nobody takes it for something that refers to nothing.
    let draft = "application/vnd.oci.artifact.manifest.v1+json";
    let artifact = registry.manifest("acme/web", draft, &json!({"mediaType": draft, "subject": image}), None);
    registry.list(&image, &artifact);
    define(folder.path(), &[&format!("{}/acme/web:1", registry.host)]);
    let ran = succeed(folder.path(), &[&BUILD[..], &["--referrers"]].concat());
    let left_out = format!("{} is left out: it has media type \"{draft}\"", artifact["digest"].as_str().unwrap());
    assert!(ran.err.contains(&left_out) && !ran.err.contains("does not refer"), "{}", ran.err);
    let bundle = read_bundle(&folder.path().join("sample-1.dcos"));
    let mut manifests: Vec<_> = bundle.images[0].manifests.iter().map(|manifest| manifest.digest.as_str()).collect();
    let mut wanted = [&image, &child, &index, &signature].map(|manifest| manifest["digest"].as_str().unwrap());
    manifests.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(manifests, wanted);
    assert_eq!(bundle.images[0].platforms, ["linux/amd64"], "what refers to an image is not for its platforms");
    succeed(folder.path(), &["registry", "extract", "sample-1.dcos", "--output-directory=out"]);
    assert_eq!(build(folder.path(), &["--referrers", "--images=oci:out/images"]).images, bundle.images);
}

/// A mirror in front of a registry, both with the image; either fails, and then neither.
#[test]
fn that_nothing_refers_to_an_image_is_believed_of_its_registry_and_not_of_a_mirror_alone() {
    let folder = tempfile::tempdir().unwrap();
    let [mirror, upstream] = [(); 2].map(|()| Registry::start(Behaviour::default()));
    let [_, image] =
        [&mirror, &upstream].map(|registry| registry.image("library/redis", Some("5"), "amd64", &[b"layer"]));
    let signature = upstream.referrer("library/redis", &image, b"signature");
    let hosts = cache(folder.path()).join("hosts");
    fs::create_dir_all(hosts.join("docker.io")).unwrap();
    let text = format!("server = \"http://{}\"\n[host.\"http://{}\"]\n", upstream.host, mirror.host);
    let toml = hosts.join("docker.io/hosts.toml");
    fs::write(&toml, text).unwrap();
    define(folder.path(), &["redis:5"]);
    let hosts = format!("--hosts-dir={}", hosts.display());
    let arguments = [&BUILD[..], &["--json", "--referrers", &hosts]].concat();
    upstream.behave(|behaviour| behaviour.fail = usize::MAX);
    fail(folder.path(), &arguments, &["image redis:5", "referrers of sha256:", &upstream.host, "503"]);
    upstream.behave(|behaviour| behaviour.fail = 0);
    mirror.behave(|behaviour| behaviour.demand = Demand::Basic("me:secret"));
    let ran = succeed(folder.path(), &arguments);
    assert!(ran.err.contains("redis:5: nothing refers to it"), "{}", ran.err);
    mirror.behave(|behaviour| behaviour.demand = Demand::Nothing);
    upstream.behave(|behaviour| behaviour.referrers = Some(10));
    let bundle = build(folder.path(), &["--referrers", &hosts]);
    assert!(bundle.images[0].manifests.iter().any(|manifest| manifest.digest == signature["digest"]));
    fs::write(&toml, format!("server = \"http://{}\"\ncapabilities = [\"resolve\"]\n", upstream.host)).unwrap();
    fail(folder.path(), &arguments, &["referrers of sha256:", "hosts.toml names nobody"]);
}

#[test]
fn a_connection_that_is_cut_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(Behaviour { cut: Some(3 * CHUNK), fail: 2, ..Behaviour::default() });
    let layer = noise(1, 20 * CHUNK + 77);
    registry.image("acme/web", Some("1"), "amd64", &[&layer]);
    define(folder.path(), &[&format!("{}/acme/web:1", registry.host)]);
    build(folder.path(), &[]);
    let ranges: Vec<_> = registry.asked().into_iter().filter_map(|asked| asked.range).collect();
    assert!(ranges.len() >= 6 && ranges[0] == format!("bytes={}-", 3 * CHUNK), "{ranges:?}");
    assert!(registry.sent() < layer.len() + CHUNK, "{} of {}", registry.sent(), layer.len());
}

#[test]
fn files_too_go_on_where_they_stopped_and_are_asked_for_again_only_when_they_changed() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(Behaviour { cut: Some(3 * CHUNK), ..Behaviour::default() });
    let file = noise(1, 10 * CHUNK);
    registry.file("/jre.tar.gz", &file);
    let definition = json!({"packagingVersion": "4.0", "name": "sample", "version": "1", "maintainer": "", "description": "",
        "tags": [], "resource": {"assets": {"uris": {"jre": format!("http://{}/jre.tar.gz", registry.host)}}}});
    fs::write(folder.path().join("definition.json"), definition.to_string()).unwrap();
    let bundle = build(folder.path(), &[]);
    assert_eq!(bundle.files[0].digest, format!("sha256:{}", hex(&file)));
    assert_eq!(registry.sent(), file.len());
    build(folder.path(), &[]);
    assert_eq!(registry.sent(), file.len(), "it did not change");
    let changed = noise(2, 2 * CHUNK);
    registry.file("/jre.tar.gz", &changed);
    assert_eq!(build(folder.path(), &[]).files[0].digest, format!("sha256:{}", hex(&changed)));
}

#[test]
fn tokens_are_got_with_the_docker_configurations_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(Behaviour { demand: Demand::Token("me:pass word"), ..Behaviour::default() });
    registry.image("acme/web", Some("1"), "amd64", &[b"layer"]);
    define(folder.path(), &[&format!("{}/acme/web:1", registry.host)]);
    fail(folder.path(), &[&BUILD[..], &["--json"]].concat(), &["acme/web:1", "401", "token"]);
    let docker = cache(folder.path()).join("docker");
    fs::create_dir_all(&docker).unwrap();
    let auth = data_encoding::BASE64.encode(b"me:pass word");
    fs::write(docker.join("config.json"), json!({"auths": {&registry.host: {"auth": auth}}}).to_string()).unwrap();
    build(folder.path(), &[]);
    let asked = registry.asked();
    let scope = asked.iter().find(|asked| asked.path == "/token").unwrap().query.clone();
    assert!(scope.contains("repository%3Aacme%2Fweb%3Apull"), "{scope}");
    fs::write(docker.join("config.json"), json!({"auths": {&registry.host: {"auth": "secret"}}}).to_string()).unwrap();
    fs::remove_dir_all(cache(folder.path()).join("dcos-registry")).unwrap();
    let ran = run(folder.path(), &BUILD);
    assert!(ran.code == 1 && ran.err.contains("config.json") && !ran.err.contains("secret"), "{}", ran.err);
}

#[test]
fn an_identity_token_is_exchanged_for_one_to_pull_with() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(Behaviour { demand: Demand::Refresh("re/fresh=1&2 +"), ..Behaviour::default() });
    registry.image("acme/web", Some("1"), "amd64", &[b"layer"]);
    define(folder.path(), &[&format!("{}/acme/web:1", registry.host)]);
    let docker = cache(folder.path()).join("docker");
    fs::create_dir_all(&docker).unwrap();
    let write = |token: &str| {
        // As docker writes it: the user is none, the token stands beside it.
        let auth = json!({"auth": data_encoding::BASE64.encode(b"00000000-0000-0000-0000-000000000000:"), "identitytoken": token});
        fs::write(docker.join("config.json"), json!({"auths": {&registry.host: auth}}).to_string()).unwrap();
    };
    write("ended");
    let ran = run(folder.path(), &BUILD);
    assert!(ran.code == 1 && ran.err.contains("401") && !ran.err.contains("ended"), "{}", ran.err);
    write("re/fresh=1&2 +");
    build(folder.path(), &[]);
    let asked = registry.asked();
    assert!(asked.iter().all(|asked| !asked.query.contains("fresh")), "a secret is in no address");
    assert!(asked.iter().any(|asked| asked.body.contains("scope=repository%3Aacme%2Fweb%3Apull")));
}

#[test]
fn credentials_are_not_sent_to_a_realm_of_somebody_else() {
    let folder = tempfile::tempdir().unwrap();
    let thief = Registry::start(Behaviour { demand: Demand::Token("me:secret"), ..Behaviour::default() });
    // Another name of this machine is another host.
    let realm = format!("http://{}/token", thief.host.replace("127.0.0.1", "localhost"));
    let registry = Registry::start(Behaviour { demand: Demand::Elsewhere(realm), ..Behaviour::default() });
    registry.image("acme/web", Some("1"), "amd64", &[b"layer"]);
    define(folder.path(), &[&format!("{}/acme/web:1", registry.host)]);
    let docker = cache(folder.path()).join("docker");
    fs::create_dir_all(&docker).unwrap();
    let auth = data_encoding::BASE64.encode(b"me:secret");
    fs::write(docker.join("config.json"), json!({"auths": {&registry.host: {"auth": auth}}}).to_string()).unwrap();
    fail(folder.path(), &[&BUILD[..], &["--json"]].concat(), &["were not sent there", "localhost"]);
    assert_eq!(thief.asked().len(), 1);
    assert!(thief.asked().iter().all(|asked| asked.authorization.is_none()));
}

/// A helper as docker has them: it reads the server and answers with a user and a password.
#[cfg(unix)]
#[test]
fn credential_helpers_are_asked() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(Behaviour { demand: Demand::Basic("me:secret"), ..Behaviour::default() });
    registry.image("acme/web", Some("1"), "amd64", &[b"layer"]);
    define(folder.path(), &[&format!("{}/acme/web:1", registry.host)]);
    let (docker, bin) = (cache(folder.path()).join("docker"), cache(folder.path()).join("bin"));
    fs::create_dir_all(&docker).unwrap();
    fs::create_dir_all(&bin).unwrap();
    let helper = bin.join("docker-credential-test");
    let script = |answer: &str| {
        fs::write(&helper, format!("#!/bin/sh\nread -r server\n{answer}\n")).unwrap();
        fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    };
    fs::write(docker.join("config.json"), r#"{"credsStore": "test"}"#).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let built = || finish(program(folder.path(), &BUILD).env("PATH", &path));
    script("echo 'credentials not found in native keychain'; exit 1");
    let ran = built();
    assert!(ran.code == 1 && ran.err.contains("401"), "{}", ran.err);
    script("echo 'the keychain is locked'; exit 1");
    let ran = built();
    assert!(ran.err.contains("docker-credential-test") && ran.err.contains("locked"), "{}", ran.err);
    script(&format!(
        r#"[ "$server" = "{}" ] && echo '{{"ServerURL":"x","Username":"me","Secret":"secret"}}'"#,
        registry.host
    ));
    let ran = built();
    assert_eq!(ran.code, 0, "{}", ran.err);
}

#[test]
fn a_folder_of_hosts_leads_to_mirrors_and_falls_through_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let empty = Registry::start(Behaviour::default());
    let mirror = Registry::start(Behaviour { base: "/mirror/hub", ..Behaviour::default() });
    let target = mirror.image("library/redis", Some("5"), "amd64", &[b"layer"]);
    define(folder.path(), &["redis:5"]);
    let hosts = cache(folder.path()).join("hosts");
    fs::create_dir_all(hosts.join("docker.io")).unwrap();
    let text = format!(
        "server = \"http://127.0.0.1:1\"\n[host.\"http://{}\"]\ncapabilities = [\"pull\", \"resolve\"]\n[host.\"http://{}/mirror/hub\"]\noverride_path = true\n",
        empty.host, mirror.host
    );
    fs::write(hosts.join("docker.io/hosts.toml"), text).unwrap();
    let argument = format!("--hosts-dir={}", hosts.display());
    let bundle = build(folder.path(), &[&argument]);
    assert_eq!(bundle.images[0].target.digest, target["digest"]);
    assert_eq!(bundle.images[0].repository, "docker.io/library/redis");
    assert_eq!(empty.asked()[0].path, "/v2/library/redis/manifests/5");
    assert!(mirror.asked().iter().all(|asked| asked.query == "ns=docker.io"));
    define(folder.path(), &["redis:6"]);
    let words = ["image redis:6", &empty.host, &mirror.host, "MANIFEST_UNKNOWN", "127.0.0.1:1"];
    fail(folder.path(), &[&BUILD[..], &["--json", &argument]].concat(), &words);
    fs::write(hosts.join("docker.io/hosts.toml"), "server = 7").unwrap();
    fail(folder.path(), &[&BUILD[..], &["--json", &argument]].concat(), &["docker.io/hosts.toml", "server"]);
    fail(folder.path(), &[&BUILD[..], &["--json", "--hosts-dir=nowhere"]].concat(), &["--hosts-dir", "nowhere"]);
}

#[test]
fn registries_with_certificates_of_their_own_are_asked_by_tls_when_the_folder_says_whom_to_trust() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let registry = Registry::start_tls(&authority, None);
    registry.image("acme/web", Some("1"), "amd64", &[b"layer"]);
    let image = format!("{}/acme/web:1", registry.host);
    define(folder.path(), &[&image]);
    let hosts = cache(folder.path()).join("hosts");
    let own = hosts.join(&registry.host);
    fs::create_dir_all(&own).unwrap();
    let argument = format!("--hosts-dir={}", hosts.display());
    let arguments = [&BUILD[..], &["--json", &argument]].concat();
    let fresh = || drop(fs::remove_dir_all(cache(folder.path()).join("dcos-registry")));
    let write =
        |text: &str| fs::write(own.join("hosts.toml"), format!("server = \"https://{}\"\n{text}", registry.host));
    write("").unwrap();
    fail(folder.path(), &arguments, &[&image, &registry.host, "certificate"]);
    assert!(registry.asked().is_empty());
    for text in ["ca = \"own.pem\"\n", "skip_verify = true\n"] {
        fs::write(own.join("own.pem"), authority.pem()).unwrap();
        write(text).unwrap();
        fresh();
        succeed(folder.path(), &arguments);
    }
    // Docker's form: certificates alone.
    fs::remove_file(own.join("hosts.toml")).unwrap();
    fs::rename(own.join("own.pem"), own.join("ca.crt")).unwrap();
    fresh();
    succeed(folder.path(), &arguments);
    write("ca = \"nowhere.pem\"\n").unwrap();
    fresh();
    fail(folder.path(), &arguments, &["nowhere.pem"]);
}

#[test]
fn a_registry_that_knows_its_clients_by_certificates_is_shown_the_one_that_the_folder_has() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, clients) = (Authority::new(), Authority::new());
    let registry = Registry::start_tls(&authority, Some(&clients));
    registry.image("acme/web", Some("1"), "amd64", &[b"layer"]);
    define(folder.path(), &[&format!("{}/acme/web:1", registry.host)]);
    let hosts = cache(folder.path()).join("hosts");
    let own = hosts.join(&registry.host);
    fs::create_dir_all(&own).unwrap();
    let argument = format!("--hosts-dir={}", hosts.display());
    let arguments = [&BUILD[..], &["--json", &argument]].concat();
    let (certificate, key) = clients.issue("client");
    let (stranger, stranger_key) = Authority::new().issue("client");
    for (name, text) in [
        ("ca.crt", authority.pem()),
        ("c.pem", certificate.pem()),
        ("c.key", key.serialize_pem()),
        ("both.pem", certificate.pem() + &key.serialize_pem()),
        ("stranger.pem", stranger.pem() + &stranger_key.serialize_pem()),
    ] {
        fs::write(own.join(name), text).unwrap();
    }
    let write = |client: &str| {
        let text = format!("server = \"https://{}\"\nca = \"ca.crt\"\n{client}", registry.host);
        fs::write(own.join("hosts.toml"), text).unwrap();
        drop(fs::remove_dir_all(cache(folder.path()).join("dcos-registry")));
    };
    for none in ["", "client = \"stranger.pem\""] {
        write(none);
        fail(folder.path(), &arguments, &[&registry.host]);
        assert!(registry.asked().is_empty(), "{none}");
    }
    for client in ["client = [[\"c.pem\", \"c.key\"]]", "client = \"both.pem\""] {
        write(client);
        succeed(folder.path(), &arguments);
    }
    // Docker's form: the folder has them, and nothing says so.
    write("");
    fs::remove_file(own.join("hosts.toml")).unwrap();
    fs::rename(own.join("c.pem"), own.join("c.cert")).unwrap();
    succeed(folder.path(), &arguments);
    write("client = \"c.key\"");
    fail(folder.path(), &arguments, &["c.key"]);
}

#[test]
fn content_that_is_not_what_its_digest_says_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(Behaviour { other: Some(b"evil!"), ..Behaviour::default() });
    registry.image("acme/web", Some("1"), "amd64", &[b"layer"]);
    let image = format!("{}/acme/web:1", registry.host);
    define(folder.path(), &[&image]);
    fail(folder.path(), &[&BUILD[..], &["--json"]].concat(), &[&image, "blob sha256:"]);
    assert_eq!(names(folder.path()), ["definition.json"]);
    registry.behave(|behaviour| behaviour.other = None);
    build(folder.path(), &[]);
    define(folder.path(), &[&format!("{}/acme/none:1", registry.host)]);
    fail(
        folder.path(),
        &[&BUILD[..], &["--json"]].concat(),
        &["acme/none:1", "404", "MANIFEST_UNKNOWN: it is not here"],
    );
}

#[test]
fn layers_that_may_not_be_passed_on_stay_where_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(Behaviour::default());
    let config = registry.blob(CONFIG, json!({"os": "windows", "architecture": "amd64"}).to_string().as_bytes());
    let foreign = json!({"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": format!("sha256:{}", hex(b"base")), "size": 4, "urls": ["https://e.test/base"]});
    let document = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config,
        "layers": [foreign, registry.blob(LAYER, b"layer")]});
    registry.manifest("acme/win", MANIFEST, &document, Some("1"));
    define(folder.path(), &[&format!("{}/acme/win:1", registry.host)]);
    let bundle = build(folder.path(), &[]);
    assert_eq!(registry.asked_blobs().len(), 2);
    assert!(bundle.images[0].platforms.is_empty(), "it can't be pulled from here alone");
}

#[test]
fn images_in_forms_that_are_not_read_are_named_with_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(Behaviour::default());
    let old = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    registry.manifest("acme/old", old, &json!({"schemaVersion": 1, "fsLayers": []}), Some("1"));
    define(folder.path(), &[&format!("{}/acme/old:1", registry.host)]);
    fail(folder.path(), &[&BUILD[..], &["--json"]].concat(), &["acme/old:1", old, "schema 2"]);
    define(folder.path(), &["UPPER/case"]);
    fail(folder.path(), &[&BUILD[..], &["--json"]].concat(), &["\"UPPER/case\"", "lower-case"]);
}

#[test]
fn what_is_damaged_in_the_cache_is_got_again() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(Behaviour::default());
    registry.image("acme/web", Some("1"), "amd64", &[b"layer"]);
    define(folder.path(), &[&format!("{}/acme/web:1", registry.host)]);
    build(folder.path(), &[]);
    let store = cache(folder.path()).join("dcos-registry");
    let blob = store.join("blobs/sha256").join(hex(b"layer"));
    fs::write(&blob, "LAYER").unwrap();
    build(folder.path(), &[]);
    assert_eq!(fs::read(&blob).unwrap(), b"layer");
    // A beginning that is wrong is found out in the end, and all of it is got.
    fs::remove_file(&blob).unwrap();
    fs::write(store.join("partial").join(hex(b"layer")), "evi").unwrap();
    build(folder.path(), &[]);
    assert_eq!(fs::read(&blob).unwrap(), b"layer");
}

/// The build is killed when so many bytes were sent, each time further; in the end it finishes. What the killed process had
/// received is on the disk: the next one asks for what comes behind it, to the byte.
#[test]
fn a_build_that_is_killed_ten_times_finishes_and_asks_for_nothing_that_it_had_received() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(Behaviour { pause: Duration::from_millis(4), ..Behaviour::default() });
    let noises: Vec<_> = (0..4).map(|seed| noise(seed, 30 * CHUNK)).collect();
    let layers: Vec<&[u8]> = noises.iter().map(Vec::as_slice).collect();
    registry.image("acme/web", Some("1"), "amd64", &layers);
    define(folder.path(), &[&format!("{}/acme/web:1", registry.host)]);
    let store = cache(folder.path()).join("dcos-registry");
    let total = 120 * CHUNK;
    let mut resumed = 0;
    let mut asked = 0;
    // What is there of each layer: bytes, or all of it.
    let mut there: Vec<Option<u64>> = vec![Some(0); layers.len()];
    for point in 1..=11 {
        let mut child = program(folder.path(), &BUILD).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let last = point == 11;
        while (last || registry.sent() < point * total / 12) && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(folder.path().join("sample-1.dcos").exists(), last, "nothing half-done has the final name");
        let all = registry.asked();
        for (layer, there) in layers.iter().zip(&mut there) {
            let name = hex(layer);
            for request in all[asked..].iter().filter(|request| request.path.ends_with(&name)) {
                let size = there.expect("a layer that is there is not asked for again");
                let range = (size > 0).then(|| format!("bytes={size}-"));
                assert_eq!(request.range, range, "call {point} goes on where the one before was killed");
                resumed += usize::from(size > 0);
            }
            let whole = store.join("blobs/sha256").join(&name).exists();
            let part = fs::metadata(store.join("partial").join(&name)).map_or(0, |part| part.len());
            *there = (!whole).then_some(part);
        }
        asked = all.len();
    }
    assert!(resumed >= 10, "only {resumed} downloads went on where they stopped");
}

#[test]
fn builds_at_the_same_time_share_what_they_download() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(Behaviour { pause: Duration::from_millis(2), ..Behaviour::default() });
    let layer = noise(1, 40 * CHUNK);
    registry.image("acme/web", Some("1"), "amd64", &[&layer]);
    define(folder.path(), &[&format!("{}/acme/web:1", registry.host)]);
    let children: Vec<_> = ["one", "two", "three"]
        .into_iter()
        .map(|output| {
            fs::create_dir(folder.path().join(output)).unwrap();
            let output = format!("--output-directory={output}");
            program(folder.path(), &[&BUILD[..], &[&output]].concat()).stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let blobs = registry.asked_blobs().into_iter().filter(|path| path.ends_with(&hex(&layer))).count();
    assert_eq!(blobs, 1);
    let read = |output: &str| fs::read(folder.path().join(output).join("sample-1.dcos")).unwrap();
    assert!(read("one") == read("two") && read("two") == read("three"));
}

/// The most memory that a build had at a time, in bytes, as the system counted it.
#[cfg(target_os = "linux")]
fn peak(folder: &Path) -> u64 {
    let mut child = program(folder, &BUILD).stdout(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        peak = line.map_or(peak, |kib: u64| peak.max(kib * 1024));
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(child.wait().unwrap().success());
    peak
}

#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_images() {
    const MIB: u64 = 1 << 20;
    let registry = Registry::start(Behaviour::default());
    let mut peaks = Vec::new();
    for (tag, size) in [("small", 1), ("large", 48)] {
        let folder = tempfile::tempdir().unwrap();
        registry.image("acme/web", Some(tag), "amd64", &[&noise(size, usize::from(size) << 20)]);
        define(folder.path(), &[&format!("{}/acme/web:{tag}", registry.host)]);
        peaks.push(peak(folder.path()));
    }
    assert!(peaks[0] > MIB && peaks[1] < peaks[0] + 16 * MIB, "{peaks:?}");
}
