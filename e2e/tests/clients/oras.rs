//! ORAS: artifacts, and what is attached to them.

use std::process::Command;

use crate::site::{Site, on_both, run};

fn oras(site: &Site, arguments: &[&str]) -> Command {
    let mut command = Command::new(&site.tools.oras);
    command.args(arguments).current_dir(site.path("")).env("HOME", site.path(""));
    let authority = format!("--ca-file={}", site.authority());
    command.arg(site.flag("--plain-http", &authority));
    command
}

#[test]
fn oras_pushes_an_artifact_attaches_to_it_and_finds_what_is_attached() {
    on_both(|site| {
        std::fs::write(site.path("thing.txt"), "a thing").unwrap();
        std::fs::write(site.path("sbom.json"), "{}").unwrap();
        let thing = site.reference("oras/thing:1");
        run(&mut oras(
            site,
            &["push", &thing, "--artifact-type=application/vnd.example.thing", "thing.txt:text/plain"],
        ));
        let sbom = "--artifact-type=application/vnd.example.sbom";
        run(&mut oras(site, &["attach", &thing, sbom, "--distribution-spec=v1.1-referrers-api", "sbom.json"]));
        run(&mut oras(site, &["attach", &thing, "--artifact-type=application/vnd.example.other", "sbom.json"]));
        let found = run(&mut oras(site, &["discover", &thing, "--format=json"]));
        assert!(found.contains("vnd.example.sbom") && found.contains("vnd.example.other"), "{found}");
        let found = run(&mut oras(site, &["discover", &thing, "--format=json", sbom]));
        assert!(found.contains("vnd.example.sbom") && !found.contains("vnd.example.other"), "{found}");
        // No tag was needed for that.
        assert_eq!(run(&mut oras(site, &["repo", "tags", &site.reference("oras/thing")])).trim(), "1");
        std::fs::remove_file(site.path("thing.txt")).unwrap();
        run(&mut oras(site, &["pull", &thing]));
        assert_eq!(std::fs::read_to_string(site.path("thing.txt")).unwrap(), "a thing");
        run(&mut oras(site, &["manifest", "delete", "--force", &thing]));
    });
}

#[test]
fn oras_keeps_what_is_attached_in_a_tag_where_it_is_told_to() {
    on_both(|site| {
        std::fs::write(site.path("thing.txt"), "a thing").unwrap();
        let thing = site.reference("oras/tagged:1");
        run(&mut oras(site, &["push", &thing, "thing.txt:text/plain"]));
        let kind = "--artifact-type=application/vnd.example.note";
        run(&mut oras(site, &["attach", &thing, kind, "--distribution-spec=v1.1-referrers-tag", "thing.txt"]));
        let tags = run(&mut oras(site, &["repo", "tags", &site.reference("oras/tagged")]));
        assert!(tags.lines().any(|tag| tag.starts_with("sha256-")), "{tags}");
        // Who asks for the list finds it all the same.
        let found = run(&mut oras(site, &["discover", &thing, "--format=json"]));
        assert!(found.contains("vnd.example.note"), "{found}");
    });
}
