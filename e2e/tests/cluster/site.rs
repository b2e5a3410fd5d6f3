//! What every test stands on: a cluster with the operator, a file server, the demo's bundle; and a registry in a namespace.

use std::{path::PathBuf, process::Command, sync::OnceLock, time::Duration};

use e2e::{
    cluster::Cluster,
    walk::{self, BundleFile, Delivery, Files, Object, PortForward},
};
use snafu::Whatever;

/// Long enough for anything that works.
pub const WITHIN: Duration = Duration::from_secs(90);

/// Long enough for what may first sit out somebody's patience: a finalizer's, a pod's end, the kubelet's between two pulls.
pub const WITHIN_PATIENCE: Duration = Duration::from_mins(4);

/// Namespaces whose registries may ask for mirrors and nodes' folders.
pub const PRIVILEGED: &[&str] = &["demo", "walk", "crash", "foreign", "folder"];

/// What the tests share.
pub struct Site {
    pub cluster: Cluster,
    pub delivery: Delivery,
    pub files: Files,
    pub bundle: BundleFile,
}

/// The one site: made when the first test asks for it.
pub fn site() -> &'static Site {
    static SITE: OnceLock<Site> = OnceLock::new();
    SITE.get_or_init(|| {
        let cluster = Cluster::connect().unwrap();
        // An upstream belongs to one registry: that of the demo, or of a run that was cut off, must not hold it.
        for namespace in PRIVILEGED {
            walk::delete_if_known(&cluster, "packageregistry", namespace, "dcos-registry").unwrap();
        }
        let delivery = Delivery::for_cluster(&cluster).unwrap();
        let image = walk::operator_image(&delivery).unwrap();
        walk::install(&cluster, &image, PRIVILEGED).unwrap();
        let bundle = walk::build_demo_bundle().unwrap();
        let files = Files::start(&cluster, &delivery).unwrap();
        files.put("hello-1.0.dcos", &bundle.path).unwrap();
        Site { cluster, delivery, files, bundle }
    })
}

/// A namespace with a registry `dcos-registry`; deleted with everything in it by [`Place::leave`].
pub struct Place {
    pub site: &'static Site,
    pub namespace: String,
    left: bool,
}

impl Place {
    /// Makes the namespace, under pod security "restricted".
    pub fn new(namespace: &str) -> Self {
        let site = site();
        let place = Self { site, namespace: namespace.to_owned(), left: false };
        // A run that was cut off may have left it.
        if walk::exists(&site.cluster, "namespace", "", namespace).unwrap() {
            place.clear().unwrap();
        }
        place.apply(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}, labels: \
             {{pod-security.kubernetes.io/enforce: restricted}}}}}}"
        ));
        place
    }

    pub fn cluster(&self) -> &Cluster {
        &self.site.cluster
    }

    pub fn apply(&self, yaml: &str) {
        walk::apply(self.cluster(), yaml).unwrap();
    }

    /// Applies a registry with that spec (flow YAML) and the file server among its sources.
    pub fn registry(&self, spec: &str) {
        self.apply(&format!(
            "apiVersion: registry.dcos.io/v1alpha1\nkind: PackageRegistry\nmetadata: {{name: dcos-registry, namespace: {}}}\n\
             spec: {{storage: {{local: {{size: 1Gi}}}}, packages: {{sources: {{allowedHosts: ['files.site.svc:8080']}}}}{}{spec}}}\n",
            self.namespace,
            if spec.is_empty() { "" } else { ", " },
        ));
    }

    pub fn registry_has(&self, condition: &str, status: &str) -> Object {
        walk::wait_for(
            self.cluster(),
            ("packageregistry", &self.namespace, "dcos-registry"),
            (condition, status),
            WITHIN,
        )
        .unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    /// Applies a package from an address.
    pub fn package(&self, name: &str, url: &str, sha256: &str) {
        self.apply(&format!(
            "apiVersion: registry.dcos.io/v1alpha1\nkind: Package\nmetadata: {{name: {name}, namespace: {}}}\nspec: \
             {{registryRef: {{name: dcos-registry}}, source: {{url: {{url: '{url}', sha256: '{sha256}'}}}}}}\n",
            self.namespace,
        ));
    }

    /// Applies the demo's package as `hello`.
    pub fn hello(&self) {
        self.package("hello", &self.site.files.address("files/hello-1.0.dcos"), &self.site.bundle.sha256);
    }

    pub fn package_has(&self, name: &str, condition: &str, status: &str) -> Object {
        walk::wait_for(self.cluster(), ("package", &self.namespace, name), (condition, status), WITHIN)
            .unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    /// Waits for a reason of a condition of a registry or package.
    pub fn reason(&self, kind: &str, name: &str, condition: &str, reason: &str) -> Object {
        walk::wait_for_reason(self.cluster(), (kind, &self.namespace, name), (condition, reason), WITHIN)
            .unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    pub fn get(&self, kind: &str, name: &str) -> Option<Object> {
        walk::get(self.cluster(), kind, &self.namespace, name).unwrap()
    }

    /// Runs a pod with an image on a node and waits until it answers; its answer comes back.
    pub fn pod_answers(&self, name: &str, node: &str, image: &str) -> String {
        self.pod(name, &format!("nodeSelector: {{kubernetes.io/hostname: {node}}}"), image);
        self.answer(name)
    }

    /// Makes a pod on a node by the node's name, past the scheduler.
    pub fn pod_on(&self, name: &str, node: &str, image: &str) {
        self.pod(name, &format!("nodeName: {node}"), image);
    }

    /// Waits until a pod of the demo's image is ready and says what it answers.
    pub fn answer(&self, name: &str) -> String {
        walk::wait_for(self.cluster(), ("pod", &self.namespace, name), ("Ready", "True"), WITHIN_PATIENCE)
            .unwrap_or_else(|error| panic!("{}", chain(&error)));
        let address = format!("/api/v1/namespaces/{}/pods/{name}:8080/proxy/", self.namespace);
        self.cluster().kubectl(&["get", "--raw", &address]).unwrap()
    }

    fn pod(&self, name: &str, place: &str, image: &str) {
        self.apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {}}}\nspec:\n  {place}\n  \
             automountServiceAccountToken: false\n  terminationGracePeriodSeconds: 1\n  securityContext: {{runAsNonRoot: true, \
             seccompProfile: {{type: RuntimeDefault}}}}\n  containers:\n    - name: hello\n      image: {image}\n      \
             imagePullPolicy: Always\n      securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: \
             [ALL]}}}}\n",
            self.namespace,
        ));
    }

    /// `GET` of a path at the registry, through the API server; `None` for 404.
    pub fn read(&self, path: &str) -> Option<String> {
        let address = format!("/api/v1/namespaces/{}/services/https:dcos-registry:https/proxy{path}", self.namespace);
        match self.cluster().kubectl(&["get", "--raw", &address]) {
            Ok(text) => Some(text),
            Err(error) if error.to_string().contains("NotFound") || error.to_string().contains("could not find") => {
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Names of the packages in `/repo`.
    pub fn catalogue(&self) -> Vec<String> {
        let repo = self.read("/repo").expect("/repo");
        let repo: serde_json::Value = serde_json::from_str(&repo).unwrap();
        repo["packages"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Every file of the registry's volume, as paths; only on the project's own cluster.
    pub fn stored_files(&self) -> Option<Vec<PathBuf>> {
        if !self.cluster().is_ours() {
            return None;
        }
        let claim = self.get("pvc", "dcos-registry").expect("the claim");
        let volume = walk::get(self.cluster(), "pv", "", claim.text("/spec/volumeName")).unwrap().expect("the volume");
        let path = [volume.text("/spec/local/path"), volume.text("/spec/hostPath/path")].concat();
        let node = volume.0.pointer("/spec/nodeAffinity/required/nodeSelectorTerms/0/matchExpressions/0/values/0");
        let node = node.and_then(serde_json::Value::as_str).expect("the volume's node").to_owned();
        Some(self.files_on_node(&node, &path))
    }

    /// Every file of a folder of a node, as paths in it; only on the project's own cluster.
    pub fn files_on_node(&self, node: &str, folder: &str) -> Vec<PathBuf> {
        let root = self.cluster().node_root_path(node, folder).unwrap();
        let mut files = Vec::new();
        list(&root, &mut files);
        files.sort();
        files.into_iter().map(|file| file.strip_prefix(&root).unwrap().to_owned()).collect()
    }

    /// Names of the folders in a node's trust folder; only on the project's own cluster.
    pub fn trusted_hosts(&self, node: &str) -> Option<Vec<String>> {
        if !self.cluster().is_ours() {
            return None;
        }
        let folder = self.cluster().node_root_path(node, "/etc/containerd/certs.d").unwrap();
        let mut names: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        Some(names)
    }

    /// Starts a port-forward to the registry.
    pub fn forward(&self) -> Forward {
        Forward::start(self.cluster(), &self.namespace)
    }

    fn clear(&self) -> Result<(), Whatever> {
        for registry in walk::get_all(self.cluster(), "packageregistry", &self.namespace, "")? {
            walk::delete(self.cluster(), "packageregistry", &self.namespace, registry.text("/metadata/name"))?;
        }
        walk::delete(self.cluster(), "namespace", "", &self.namespace)?;
        walk::wait_gone(self.cluster(), "namespace", "", &self.namespace, WITHIN_PATIENCE)
    }

    /// Deletes the namespace and everything in it.
    pub fn leave(mut self) {
        self.left = true;
        self.clear().unwrap_or_else(|error| panic!("{}", chain(&error)));
    }
}

impl Drop for Place {
    /// A test that failed takes its registry with it, so that the next one finds its mirrors free; `KEEP_FAILED=1` keeps it.
    fn drop(&mut self) {
        if !self.left && std::env::var_os("KEEP_FAILED").is_none() {
            let _ = self.clear();
        }
    }
}

/// A port of this machine that leads to the registry.
pub struct Forward {
    kubectl: PortForward,
    pub ca: PathBuf,
    pub host: String,
}

impl Forward {
    fn start(cluster: &Cluster, namespace: &str) -> Self {
        let forward = PortForward::start(cluster, namespace, "service/dcos-registry", 443).unwrap();
        let ca = walk::out().join(format!("{namespace}-ca.crt"));
        let map = walk::get(cluster, "configmap", namespace, "dcos-registry-ca").unwrap().unwrap();
        std::fs::write(&ca, map.text("/data/ca.crt")).unwrap();
        Self { kubectl: forward, ca, host: format!("dcos-registry.{namespace}.svc") }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.kubectl.port()
    }

    /// Runs curl for a path with further arguments, TLS verified against the registry's name; status and body come back.
    pub fn curl(&self, arguments: &[&str], path: &str) -> (u16, String) {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "20", "--write-out", "\n%{http_code}"])
            .arg("--cacert")
            .arg(&self.ca)
            .args(["--resolve", &format!("{}:{}:127.0.0.1", self.host, self.port())])
            .args(arguments)
            .arg(format!("https://{}:{}{path}", self.host, self.port()))
            .output()
            .unwrap();
        assert!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }
}

/// An error with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {}", chain(cause)))
}

fn list(folder: &std::path::Path, files: &mut Vec<PathBuf>) {
    // The server takes folders away that became empty.
    let entries = std::fs::read_dir(folder).map(|entries| entries.collect::<Result<Vec<_>, _>>().unwrap());
    for entry in entries.unwrap_or_default() {
        let path = entry.path();
        if path.is_dir() {
            list(&path, files);
        } else {
            files.push(path);
        }
    }
}
