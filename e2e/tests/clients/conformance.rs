//! The specification's own tests.

use std::process::Command;

use crate::site::{on_both, run};

#[test]
fn the_specifications_own_tests_pass() {
    on_both(|site| {
        let mut suite = Command::new(&site.tools.conformance);
        suite.current_dir(site.path("")).env("SSL_CERT_FILE", site.authority());
        suite.env("OCI_REGISTRY", site.server.host()).env("OCI_TLS", site.flag("disabled", "enabled"));
        suite.env("OCI_VERSION", "1.1").env("OCI_RESULTS_DIR", site.path("results"));
        for also in ["BLOBS_DIGEST_HEADER", "BLOBS_UPLOAD_CANCEL", "MANIFESTS_DIGEST_HEADER"] {
            suite.env(format!("OCI_API_{also}"), "true");
        }
        let summary = run(&mut suite);
        let count = |what: &str| -> u32 {
            let line = summary.lines().find(|line| line.trim().starts_with(what)).unwrap_or_default();
            line.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{summary}"))
        };
        assert_eq!((count("FAIL"), count("Error")), (0, 0), "{summary}");
        // A mount that names no repository is the one thing that is answered with an upload instead.
        assert!(count("Pass") > 800 && count("Skip") <= 4, "{summary}");
    });
}
