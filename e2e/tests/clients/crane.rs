//! crane, of go-containerregistry.

use std::process::Command;

use crate::site::{Site, fails, on_both, run};

fn crane(site: &Site, arguments: &[&str]) -> Command {
    let mut command = Command::new(&site.tools.crane);
    // Plain HTTP on loopback is what it expects there.
    command.args(arguments).env("SSL_CERT_FILE", site.authority());
    command
}

#[test]
fn crane_pushes_copies_lists_pulls_and_deletes() {
    on_both(|site| {
        let (image, copy) = (site.reference("crane/greeting:1"), site.reference("crane/copy:2"));
        run(&mut crane(site, &["push", &site.archive(), &image]));
        let digest = run(&mut crane(site, &["digest", &image]));
        // Between repositories of one registry blobs are mounted.
        run(&mut crane(site, &["copy", &image, &copy]));
        assert_eq!(run(&mut crane(site, &["digest", &copy])), digest);
        run(&mut crane(site, &["validate", "--remote", &copy]));
        assert_eq!(run(&mut crane(site, &["ls", &site.reference("crane/copy")])).trim(), "2");
        let catalog = run(&mut crane(site, &["catalog", site.server.host()]));
        assert_eq!(catalog.lines().collect::<Vec<_>>(), ["crane/copy", "crane/greeting"]);
        run(&mut crane(site, &["pull", &image, &site.text("pulled.tar")]));
        assert!(site.path("pulled.tar").metadata().unwrap().len() > 1000);
        run(&mut crane(site, &["tag", &image, "latest"]));
        let by_digest = format!("{}@{}", site.reference("crane/greeting"), digest.trim());
        run(&mut crane(site, &["delete", &by_digest]));
        for gone in [&image, &by_digest] {
            let error = fails(&mut crane(site, &["manifest", gone]));
            assert!(error.contains("MANIFEST_UNKNOWN"), "{error}");
        }
        assert_eq!(run(&mut crane(site, &["ls", &site.reference("crane/greeting")])).trim(), "");
    });
}

#[test]
fn crane_pushes_an_index() {
    on_both(|site| {
        let (layout, digest) = site.layout();
        let image = site.reference("crane/one:1");
        run(&mut crane(site, &["push", &layout, &image]));
        let index = site.reference("crane/one:all");
        run(&mut crane(site, &["index", "append", "--manifest", &image, "--tag", &index]));
        let document = run(&mut crane(site, &["manifest", &index]));
        assert!(document.contains(&digest), "{document}");
        run(&mut crane(site, &["pull", "--format=oci", &index, &site.text("pulled")]));
        let hex = digest.strip_prefix("sha256:").unwrap();
        assert!(site.path("pulled/blobs/sha256").join(hex).exists());
    });
}
