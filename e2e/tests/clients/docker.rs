//! docker, as Debian has it: its client, and a daemon of its own that touches no network. On loopback it takes plain HTTP
//! and certificates of any authority.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use e2e::clients::Transport;

use crate::site::{NAME, Site, on_both, run};

struct Docker<'a> {
    site: &'a Site,
    daemon: Child,
}

impl<'a> Docker<'a> {
    fn start(site: &'a Site) -> Self {
        let log = fs::File::create(site.path("dockerd.log")).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(site.tools.docker.join("dockerd"));
        command.args(["--host", &socket(site), "--pidfile", &site.text("docker.pid"), "--storage-driver=vfs"]);
        command.args(["--data-root", &site.text("docker"), "--exec-root", &site.text("docker-run")]);
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--userland-proxy=false"]);
        command.args(["--ip-forward=false", "--ip-masq=false"]);
        let daemon = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let this = Self { site, daemon };
        let start = Instant::now();
        while !this.docker(&["version"]).output().unwrap().status.success() {
            let log = || fs::read_to_string(site.path("dockerd.log")).unwrap();
            assert!(start.elapsed() < Duration::from_mins(1), "dockerd does not start: {}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
        this
    }

    fn docker(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.site.tools.docker.join("docker"));
        command.args(["--config", &self.site.text("docker-config"), "--host", &socket(self.site)]).args(arguments);
        command
    }
}

impl Drop for Docker<'_> {
    fn drop(&mut self) {
        // Asked to end, it ends its containerd too.
        let _ = Command::new("kill").arg(self.daemon.id().to_string()).status();
        let _ = self.daemon.wait();
    }
}

fn socket(site: &Site) -> String {
    format!("unix://{}", site.text("docker.sock"))
}

#[test]
fn docker_pushes_and_pulls_an_image() {
    on_both(|site| {
        let docker = Docker::start(site);
        let image = site.reference("docker/greeting:1");
        run(&mut docker.docker(&["load", "--input", &site.archive()]));
        let id = run(&mut docker.docker(&["image", "inspect", "--format={{.Id}}", NAME]));
        run(&mut docker.docker(&["tag", NAME, &image]));
        let pushed = run(&mut docker.docker(&["push", &image]));
        assert!(pushed.contains("digest: sha256:"), "{pushed}");
        run(&mut docker.docker(&["rmi", NAME, &image]));
        run(&mut docker.docker(&["pull", &image]));
        assert_eq!(run(&mut docker.docker(&["image", "inspect", "--format={{.Id}}", &image])), id);
    });
}

#[test]
fn a_package_of_an_image_that_docker_has_gives_docker_the_same_image_back() {
    let site = &Site::start(Transport::Tls);
    let docker = Docker::start(site);
    run(&mut docker.docker(&["load", "--input", &site.archive()]));
    let id = run(&mut docker.docker(&["image", "inspect", "--format={{.Id}}", NAME]));
    let image = site.add_from_engine(("DOCKER_HOST", &socket(site)));
    run(&mut docker.docker(&["rmi", NAME]));
    run(&mut docker.docker(&["pull", &image]));
    assert_eq!(run(&mut docker.docker(&["image", "inspect", "--format={{.Id}}", &image])), id);
}
