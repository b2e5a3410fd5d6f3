//! containerd, as Debian has it, with its own client.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use e2e::clients::Transport;

use crate::site::{NAME, Site, on_both, run};

/// A containerd without the parts that Kubernetes needs, in the test's folder.
struct Containerd {
    child: Child,
    socket: String,
}

impl Containerd {
    fn start(site: &Site) -> Self {
        let (configuration, socket) = (site.text("containerd.toml"), site.text("containerd.sock"));
        fs::write(&configuration, "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n").unwrap();
        let log = fs::File::create(site.path("containerd.log")).unwrap();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "containerd", "--config", &configuration, "--address", &socket])
            .args(["--root", &site.text("containerd"), "--state", &site.text("containerd-state")])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let this = Self { child, socket };
        let start = Instant::now();
        while !this.ctr(&["version"]).output().unwrap().status.success() {
            assert!(start.elapsed() < Duration::from_secs(30), "containerd does not start");
            std::thread::sleep(Duration::from_millis(100));
        }
        this
    }

    fn ctr(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ctr");
        command.args(["--address", &self.socket]).args(arguments);
        command
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A trust folder as the agents write it on nodes. On loopback containerd speaks plain HTTP unless it is told otherwise.
fn hosts(site: &Site) -> String {
    let (host, folder) = (site.server.host(), site.path("certs.d").join(site.server.host()));
    fs::create_dir_all(&folder).unwrap();
    let authority = site.authority();
    let content = format!("server = \"https://{host}\"\n[host.\"https://{host}\"]\nca = \"{authority}\"\n");
    fs::write(folder.join("hosts.toml"), content).unwrap();
    site.text("certs.d")
}

#[test]
fn containerd_pushes_and_pulls_an_image() {
    on_both(|site| {
        let containerd = Containerd::start(site);
        let hosts = format!("--hosts-dir={}", hosts(site));
        let talk = site.flag("--plain-http", &hosts);
        let image = site.reference("containerd/greeting:1");
        run(&mut containerd.ctr(&["images", "import", "--snapshotter=native", &site.archive()]));
        run(&mut containerd.ctr(&["images", "tag", NAME, &image]));
        run(&mut containerd.ctr(&["images", "push", talk, &image]));
        run(&mut containerd.ctr(&["images", "remove", "--sync", NAME, &image]));
        run(&mut containerd.ctr(&["images", "pull", talk, "--snapshotter=native", &image]));
        let listed = run(&mut containerd.ctr(&["images", "list", "--quiet"]));
        assert_eq!(listed.trim(), image);
    });
}

#[test]
fn a_package_of_an_image_that_containerd_has_gives_containerd_the_same_image_back() {
    let site = &Site::start(Transport::Tls);
    let containerd = Containerd::start(site);
    let hosts = format!("--hosts-dir={}", hosts(site));
    run(&mut containerd.ctr(&["images", "import", "--snapshotter=native", &site.archive()]));
    let digest = |image: &str| {
        let listed = run(&mut containerd.ctr(&["images", "list", &format!("name=={image}")]));
        listed.split_whitespace().find(|word| word.starts_with("sha256:")).expect(&listed).to_owned()
    };
    let given = digest(NAME);
    let image = site.add_from_engine(("CONTAINERD_ADDRESS", &containerd.socket));
    run(&mut containerd.ctr(&["images", "remove", "--sync", NAME]));
    run(&mut containerd.ctr(&["images", "pull", &hosts, "--snapshotter=native", &image]));
    assert_eq!(digest(&image), given);
}
