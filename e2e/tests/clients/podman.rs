//! podman, as Debian has it.

use std::process::Command;

use crate::site::{NAME, Site, on_both, run};

fn podman(site: &Site, arguments: &[&str]) -> Command {
    let mut command = Command::new("podman");
    // A store of its own, so that nothing of this machine is touched and nothing is left.
    command.args(["--root", &site.text("store"), "--runroot", &site.text("run"), "--tmpdir", &site.text("tmp")]);
    command.args(["--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=none"]);
    command.args(arguments);
    command
}

#[test]
fn podman_pushes_and_pulls_an_image() {
    on_both(|site| {
        let certificates = format!("--cert-dir={}", site.server.certificates().display());
        let talk = site.flag("--tls-verify=false", &certificates);
        let image = site.reference("podman/greeting:1");
        run(&mut podman(site, &["load", "--input", &site.archive()]));
        let id = run(&mut podman(site, &["image", "inspect", "--format={{.Id}}", NAME]));
        run(&mut podman(site, &["push", talk, NAME, &image]));
        run(&mut podman(site, &["rmi", "--all"]));
        run(&mut podman(site, &["pull", talk, &image]));
        assert_eq!(run(&mut podman(site, &["image", "inspect", "--format={{.Id}}", &image])), id);
    });
}
