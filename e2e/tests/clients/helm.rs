//! Helm: a chart there and back.

use std::fs;
use std::process::Command;

use crate::site::{Site, on_both, run};

fn helm(site: &Site, arguments: &[&str]) -> Command {
    let mut command = Command::new(&site.tools.helm);
    command.args(arguments).current_dir(site.path("")).env("HOME", site.path(""));
    command
}

#[test]
fn helm_pushes_and_pulls_a_chart() {
    on_both(|site| {
        fs::create_dir_all(site.path("greeting/templates")).unwrap();
        fs::write(site.path("greeting/Chart.yaml"), "apiVersion: v2\nname: greeting\nversion: 0.1.0\n").unwrap();
        let template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: greeting}\n";
        fs::write(site.path("greeting/templates/greeting.yaml"), template).unwrap();
        let authority = format!("--ca-file={}", site.authority());
        let talk = site.flag("--plain-http", &authority);
        run(&mut helm(site, &["package", "greeting"]));
        let charts = format!("oci://{}", site.reference("charts"));
        run(&mut helm(site, &["push", "greeting-0.1.0.tgz", &charts, talk]));
        let pushed = fs::read(site.path("greeting-0.1.0.tgz")).unwrap();
        fs::create_dir(site.path("pulled")).unwrap();
        let chart = format!("{charts}/greeting");
        run(&mut helm(site, &["pull", &chart, "--version=0.1.0", "--destination=pulled", talk]));
        assert_eq!(fs::read(site.path("pulled/greeting-0.1.0.tgz")).unwrap(), pushed);
        let shown = run(&mut helm(site, &["show", "chart", &chart, talk]));
        assert!(shown.contains("name: greeting"), "{shown}");
    });
}
