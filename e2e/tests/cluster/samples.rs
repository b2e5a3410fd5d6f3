//! The samples, the rules of the kinds, and the one-file form of the manifests, on a real API server.

use std::fs;

use e2e::walk::{self, Credentials, Minio};
use serde_json::Value;

use crate::site::{Place, site};

#[test]
fn every_sample_can_be_applied_and_its_registry_becomes_ready() {
    let mut samples: Vec<_> =
        fs::read_dir(walk::root().join("manifests/samples")).unwrap().map(|entry| entry.unwrap().path()).collect();
    samples.sort();
    assert!(samples.len() >= 5, "only {} samples", samples.len());
    for sample in samples {
        let place = Place::new("samples");
        let path = sample.display().to_string();
        let text = fs::read_to_string(&sample).unwrap();
        let store = text.contains("s3:").then(|| {
            // The store that the sample names, with the sample's credentials.
            let credentials = Credentials { key_id: "packages".into(), secret: "change-me-please".into() };
            let store = Minio::start(place.cluster(), &place.site.delivery, &credentials).unwrap();
            store.bucket("packages", &credentials).unwrap();
            store
        });
        place
            .cluster()
            .kubectl(&["apply", "--validate=strict", "-n", &place.namespace, "-f", &path])
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        if text.contains("kind: PackageRegistry") {
            place.registry_has("Ready", "True");
        } else {
            let package = walk::get_all(place.cluster(), "package", &place.namespace, "").unwrap().remove(0);
            place.reason("package", package.text("/metadata/name"), "Ready", "DependencyNotReady");
        }
        place.leave();
        if let Some(store) = store {
            store.remove().unwrap();
        }
    }
}

#[test]
fn the_api_server_refuses_what_the_kinds_forbid_and_says_which_field() {
    let cluster = &site().cluster;
    let registry = |name: &str, spec: &str| {
        format!(
            "{{apiVersion: registry.dcos.io/v1alpha1, kind: PackageRegistry, metadata: {{name: {name}, namespace: default}}, spec: {spec}}}"
        )
    };
    let package = |spec: &str| {
        format!(
            "{{apiVersion: registry.dcos.io/v1alpha1, kind: Package, metadata: {{name: p, namespace: default}}, spec: {spec}}}"
        )
    };
    let cases = [
        (registry("a.b", "{}"), "metadata.name"),
        (registry("r", "{instances: 0}"), "spec.instances"),
        (registry("r", "{instances: 2}"), "needs spec.storage.s3"),
        (registry("r", "{instances: 2, storage: {local: {}}}"), "needs spec.storage.s3"),
        (registry("r", "{storage: {}}"), "exactly one storage"),
        (registry("r", "{storage: {local: {}, s3: {bucket: packages}}}"), "exactly one storage"),
        (registry("r", "{instances: 2, storage: {volume: {claimName: a}}}"), "needs spec.storage.s3"),
        (registry("r", "{storage: {local: {}, volume: {claimName: a}}}"), "exactly one storage"),
        (registry("r", "{storage: {volume: {}}}"), "exactly one volume"),
        (registry("r", "{storage: {volume: {claimName: A}}}"), "spec.storage.volume.claimName"),
        (registry("r", "{storage: {volume: {hostPath: srv, nodeName: n1}}}"), "spec.storage.volume.hostPath"),
        (registry("r", "{storage: {volume: {hostPath: /srv/../etc, nodeName: n1}}}"), "spec.storage.volume.hostPath"),
        (registry("r", "{storage: {volume: {hostPath: /srv/a/, nodeName: n1}}}"), "spec.storage.volume.hostPath"),
        (registry("r", "{storage: {volume: {hostPath: /etc/a, nodeName: n1}}}"), "for this registry alone"),
        (registry("r", "{storage: {volume: {hostPath: /srv/a}}}"), "belong together"),
        (
            registry("r", "{storage: {volume: {claimName: a, containerPath: ../b}}}"),
            "spec.storage.volume.containerPath",
        ),
        (registry("r", "{storage: {volume: {claimName: a, containerPath: /tmp}}}"), "would hide"),
        (registry("r", "{storage: {s3: {bucket: Packages}}}"), "spec.storage.s3.bucket"),
        (registry("r", "{storage: {s3: {bucket: packages, path: /a}}}"), "spec.storage.s3.path"),
        (registry("r", "{storage: {s3: {bucket: packages, endpoint: 'http://a.test/b'}}}"), "spec.storage.s3.endpoint"),
        (
            registry("r", "{storage: {s3: {bucket: packages, serverSideEncryption: DES}}}"),
            "spec.storage.s3.serverSideEncryption",
        ),
        (registry("r", "{packages: {onConflict: Merge}}"), "spec.packages.onConflict"),
        (registry("r", "{garbageCollection: {interval: 1s}}"), "interval must be at least 1m"),
        (registry("r", "{service: {name: Docker.io}}"), "spec.service.name"),
        (registry("r", "{service: {type: ExternalName}}"), "spec.service.type"),
        (registry("r", "{nodeTrust: {mirrors: ['docker.io/library']}}"), "spec.nodeTrust.mirrors"),
        (registry("r", "{nodeTrust: {mirrors: [docker.io, docker.io]}}"), "Duplicate"),
        (registry("r", "{unknownField: 1}"), "unknownField"),
        (package("{registryRef: {name: r}, source: {}}"), "exactly one source"),
        (package("{registryRef: {name: r}, source: {upload: {digest: abc}}}"), "spec.source.upload.digest"),
        (package("{registryRef: {name: r}, source: {url: {url: 'ftp://a.test/b'}}}"), "spec.source.url.url"),
        (package("{registryRef: {name: r}, source: {url: {url: 'https://u:p@a.test/b'}}}"), "spec.source.url.url"),
        (package("{registryRef: {name: r}, source: {url: {url: 'https://a.test/b', sha256: ABC}}}"), "sha256"),
        (
            package("{registryRef: {name: r}, releaseVersion: -1, source: {url: {url: 'https://a.test/b'}}}"),
            "releaseVersion",
        ),
    ];
    for (yaml, word) in cases {
        let refusal = walk::apply(cluster, &yaml).expect_err(&yaml).to_string();
        assert!(refusal.contains(word), "{yaml}: {refusal}");
    }
}

#[test]
fn the_one_file_form_holds_what_the_kustomization_holds() {
    let cluster = &site().cluster;
    let root = walk::root();
    let kustomize = cluster.kubectl(&["kustomize", &root.join("manifests/default").display().to_string()]).unwrap();
    let by_kustomize = walk::out().join("kustomize.yaml");
    fs::write(&by_kustomize, kustomize).unwrap();
    assert_eq!(objects(&by_kustomize), objects(&root.join("manifests/install.yaml")));
}

/// The objects in a YAML file, in the order of their names.
fn objects(file: &std::path::Path) -> Vec<Value> {
    let file = file.display().to_string();
    let text =
        site().cluster.kubectl(&["create", "--dry-run=client", "--validate=false", "-o", "json", "-f", &file]).unwrap();
    let mut found: Vec<Value> = serde_json::Deserializer::from_str(&text)
        .into_iter::<Value>()
        .flat_map(|document| {
            let document = document.unwrap();
            document["items"].as_array().cloned().unwrap_or_else(|| vec![document])
        })
        .collect();
    found.sort_by_key(|object| {
        [&object["kind"], &object["metadata"]["name"], &object["metadata"]["namespace"]].map(Value::to_string)
    });
    found
}

#[test]
fn the_image_holds_the_three_programs_and_the_authorities_and_runs_as_nobody() {
    let archive = walk::out().join("package-registry.tar");
    assert!(!site().files.address("").is_empty(), "the site has built the image");
    let folder = walk::out().join("image-layout");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let unpack = std::process::Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&folder).status().unwrap();
    assert!(unpack.success());
    let blob = |descriptor: &Value| {
        folder.join("blobs/sha256").join(descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap())
    };
    let json = |path: std::path::PathBuf| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap();
    let index = json(folder.join("index.json"));
    let manifest = json(blob(&index["manifests"][0]));
    let config = json(blob(&manifest["config"]));
    assert_eq!(config["config"]["User"], "65532:65532");
    let mut files = Vec::new();
    for layer in manifest["layers"].as_array().unwrap() {
        let list = std::process::Command::new("tar").arg("-tf").arg(blob(layer)).output().unwrap();
        let list = String::from_utf8(list.stdout).unwrap();
        files.extend(list.lines().filter(|path| !path.ends_with('/')).map(str::to_owned));
    }
    files.sort();
    let expected = [
        "etc/ssl/certs/ca-certificates.crt",
        "package-registry-controller",
        "package-registry-node-trust",
        "package-registry-server",
    ];
    assert_eq!(files, expected);
}
