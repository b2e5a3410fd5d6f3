//! Trust folders on a real file system: made, repaired, refused, removed, and finished after a crash at any moment.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use node_trust::agent::converge;
use node_trust::apply::apply;
use node_trust::entries::Owner;
use node_trust::folder::WantedFolder;
use node_trust::hosts_toml::HEADER;
use node_trust::observe::{observe, open_trust_dir};
use node_trust::plan::{Action, plan};
use node_trust::report::{Problem, Reason};
use tempfile::TempDir;

const HOST: &str = "registry.packages.svc";
const SHOWN: &str = "/etc/containerd/certs.d";

fn wanted(host: &str, version: &str) -> WantedFolder {
    WantedFolder {
        host: host.parse().unwrap(),
        owner: Owner { namespace: "packages".into(), name: "registry".into() },
        ca_bundle: format!("CA {version}"),
        hosts_toml: Some(format!("server = {version:?}")),
    }
}

fn run(dir: &TempDir, wanted: &[WantedFolder]) -> Vec<Problem> {
    converge(dir.path(), SHOWN, wanted)
}

/// Every path below, with a file's mode and content; a folder has its mode and ends in a slash.
fn tree(dir: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
        if entry.file_type().unwrap().is_dir() {
            found.insert(format!("{name}/"), format!("{mode:o}"));
            found.extend(tree(&entry.path()).into_iter().map(|(path, what)| (format!("{name}/{path}"), what)));
        } else {
            found.insert(
                name,
                format!("{mode:o} {}", String::from_utf8_lossy(&fs::read(entry.path()).unwrap_or_default())),
            );
        }
    }
    found
}

fn names(dir: &TempDir) -> Vec<String> {
    tree(dir.path()).into_keys().collect()
}

#[test]
fn a_listed_host_gets_its_files_and_a_second_pass_finds_nothing_to_do() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(&dir, &[wanted(HOST, "1")]), []);
    let first = tree(dir.path());
    assert_eq!(first[&format!("{HOST}/ca.crt")], "644 CA 1");
    assert_eq!(first[&format!("{HOST}/hosts.toml")], "644 server = \"1\"");
    assert_eq!(first[&format!("{HOST}/")], "755");
    assert_eq!(first.len(), 4, "{first:?}");
    let opened = open_trust_dir(dir.path()).unwrap();
    let again = plan(&[wanted(HOST, "1")], &observe(opened.as_fd()).unwrap(), SHOWN);
    assert_eq!((again.steps, again.problems), (vec![], vec![]));
}

#[test]
fn every_kind_of_drift_is_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join(HOST);
    run(&dir, &[wanted(HOST, "1")]);
    let right = tree(dir.path());
    let elsewhere = tempfile::NamedTempFile::new().unwrap();
    fs::write(elsewhere.path(), "CA 1").unwrap();
    let spoil: [&dyn Fn(); 9] = [
        &|| fs::write(folder.join("hosts.toml"), "server = \"https://evil\"").unwrap(),
        &|| fs::write(folder.join("ca.crt"), "").unwrap(),
        &|| fs::write(folder.join(".package-registry"), "{ damaged").unwrap(),
        &|| fs::remove_file(folder.join("ca.crt")).unwrap(),
        &|| fs::remove_dir_all(&folder).unwrap(),
        &|| fs::set_permissions(folder.join("ca.crt"), fs::Permissions::from_mode(0o600)).unwrap(),
        &|| fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap(),
        &|| {
            fs::remove_file(folder.join("ca.crt")).unwrap();
            symlink(elsewhere.path(), folder.join("ca.crt")).unwrap();
        },
        &|| fs::write(folder.join(".package-registry-new.ca.crt.tmp"), "half").unwrap(),
    ];
    for (number, spoil) in spoil.iter().enumerate() {
        spoil();
        assert_ne!(tree(dir.path()), right, "spoiling {number} changed nothing");
        assert_eq!(run(&dir, &[wanted(HOST, "1")]), [], "spoiling {number}");
        assert_eq!(tree(dir.path()), right, "spoiling {number}");
    }
    assert_eq!(fs::read_to_string(elsewhere.path()).unwrap(), "CA 1", "a link was followed");
}

#[test]
fn folders_of_somebody_else_are_named_and_stay_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("unmarked.io")).unwrap();
    fs::write(dir.path().join("unmarked.io/hosts.toml"), "theirs").unwrap();
    fs::write(dir.path().join("file.io"), "theirs").unwrap();
    symlink(target.path(), dir.path().join("link.io")).unwrap();
    fs::create_dir(dir.path().join("later.io")).unwrap();
    fs::write(dir.path().join("later.io/.package-registry"), r#"{"format":99}"#).unwrap();
    fs::create_dir(dir.path().join("marked-by-link.io")).unwrap();
    symlink("/dev/null", dir.path().join("marked-by-link.io/.package-registry")).unwrap();
    let before = tree(dir.path());
    let hosts = ["unmarked.io", "file.io", "link.io", "later.io", "marked-by-link.io"];
    let problems = run(&dir, &hosts.map(|host| wanted(host, "1")));
    let named: Vec<_> = problems.iter().map(|problem| (problem.reason, problem.host.as_deref().unwrap())).collect();
    assert_eq!(named, hosts.map(|host| (Reason::NameTaken, host)));
    assert_eq!(tree(dir.path()), before);
    assert_eq!(run(&dir, &[]), []);
    assert_eq!(tree(dir.path()), before);
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
}

/// As the agent really writes it: with our first line in hosts.toml.
fn headed(host: &str, version: &str) -> WantedFolder {
    WantedFolder { hosts_toml: Some(format!("{HEADER}server = {version:?}")), ..wanted(host, version) }
}

#[test]
fn a_folder_whose_marker_was_deleted_is_still_ours() {
    for others in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        run(&dir, &[headed(HOST, "1")]);
        let marker = dir.path().join(HOST).join(".package-registry");
        let right = tree(dir.path());
        fs::remove_file(&marker).unwrap();
        assert_eq!(run(&dir, &[headed(HOST, "1")]), []);
        assert_eq!(tree(dir.path()), right);

        fs::remove_file(&marker).unwrap();
        if others {
            fs::write(dir.path().join(HOST).join("client.cert"), "theirs").unwrap();
        }
        assert_eq!(run(&dir, &[]), []);
        let left = if others { vec![format!("{HOST}/"), format!("{HOST}/client.cert")] } else { Vec::new() };
        assert_eq!(names(&dir), left);
    }
}

#[test]
fn a_crash_while_a_folder_without_marker_is_removed_is_completed() {
    let mut count = 0;
    loop {
        let dir = tempfile::tempdir().unwrap();
        run(&dir, &[headed(HOST, "1")]);
        fs::remove_file(dir.path().join(HOST).join(".package-registry")).unwrap();
        let more = crash_after(count, dir.path(), &[]);
        assert_no_hosts_toml_without_its_ca(dir.path());
        assert_eq!(run(&dir, &[]), [], "crash after {count}");
        assert_eq!(names(&dir), Vec::<String>::new(), "crash after {count}");
        if !more {
            break;
        }
        count += 1;
    }
    assert!(count >= 6, "too few moments to crash at: {count}");
}

#[test]
fn a_half_made_folder_that_somebody_put_a_file_in_does_not_stop_the_next_attempt() {
    let dir = tempfile::tempdir().unwrap();
    let leftover = dir.path().join(format!(".package-registry-new.{HOST}"));
    fs::create_dir(&leftover).unwrap();
    fs::write(leftover.join("theirs"), "theirs").unwrap();
    fs::write(leftover.join("ca.crt"), "half").unwrap();
    assert_eq!(run(&dir, &[wanted(HOST, "1")]), []);
    let found = tree(dir.path());
    assert_eq!(found[&format!("{HOST}/ca.crt")], "644 CA 1");
    assert!(found.contains_key(&format!("{HOST}/theirs")));
    assert_eq!(run(&dir, &[wanted(HOST, "1")]), []);
    assert_eq!(tree(dir.path()), found);
}

#[test]
fn a_link_where_a_folder_is_to_be_made_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();
    symlink(target.path(), dir.path().join(format!(".package-registry-new.{HOST}"))).unwrap();
    assert_eq!(run(&dir, &[wanted(HOST, "1")])[0].reason, Reason::WriteFailed);
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
}

#[test]
fn one_refused_folder_does_not_hold_up_the_others() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.io"), "").unwrap();
    assert_eq!(run(&dir, &[wanted("a.io", "1"), wanted("b.io", "1")]).len(), 1);
    assert!(dir.path().join("b.io/hosts.toml").exists());
}

#[test]
fn an_empty_folder_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(HOST)).unwrap();
    assert_eq!(run(&dir, &[wanted(HOST, "1")]), []);
    assert!(dir.path().join(HOST).join("hosts.toml").exists());
}

#[test]
fn what_is_no_longer_listed_goes_and_files_of_somebody_else_stay() {
    let dir = tempfile::tempdir().unwrap();
    run(&dir, &[wanted("a.io", "1"), wanted("b.io", "1"), wanted("c.io", "1")]);
    fs::write(dir.path().join("b.io/client.cert"), "theirs").unwrap();
    assert_eq!(run(&dir, &[wanted("c.io", "1")]), []);
    assert_eq!(
        names(&dir),
        ["b.io/", "b.io/client.cert", "c.io/", "c.io/.package-registry", "c.io/ca.crt", "c.io/hosts.toml"]
    );
}

#[test]
fn for_docker_there_is_a_ca_and_no_hosts_toml() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(&dir, &[WantedFolder { hosts_toml: None, ..wanted("a.io:5000", "1") }]), []);
    assert_eq!(names(&dir), ["a.io:5000/", "a.io:5000/.package-registry", "a.io:5000/ca.crt"]);
}

#[test]
fn a_trust_folder_that_is_not_there_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let problems = converge(&dir.path().join("none"), SHOWN, &[]);
    assert_eq!(problems[0].reason, Reason::WriteFailed);
    assert!(problems[0].message.starts_with(SHOWN), "{}", problems[0].message);
}

#[test]
fn a_folder_in_place_of_a_file_makes_room_and_what_is_in_it_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join(HOST);
    run(&dir, &[wanted(HOST, "1")]);
    let right = tree(dir.path());
    for name in ["ca.crt", "hosts.toml"] {
        fs::remove_file(folder.join(name)).unwrap();
        fs::create_dir(folder.join(name)).unwrap();
    }
    fs::create_dir(folder.join(".package-registry-new.ca.crt.tmp")).unwrap();
    assert_eq!(run(&dir, &[wanted(HOST, "1")]), []);
    assert_eq!(tree(dir.path()), right);

    let temporary = folder.join(".package-registry-new.ca.crt.tmp");
    fs::create_dir(&temporary).unwrap();
    fs::write(temporary.join("theirs"), "").unwrap();
    for _ in 0..2 {
        assert_eq!(run(&dir, &[wanted(HOST, "1")]), []);
        assert!(folder.join("new.ca.crt.tmp.replaced-1/theirs").exists());
    }
    fs::remove_dir_all(folder.join("new.ca.crt.tmp.replaced-1")).unwrap();
    assert_eq!(tree(dir.path()), right);

    for number in ["1", "2"] {
        fs::remove_file(folder.join("ca.crt")).unwrap();
        fs::create_dir(folder.join("ca.crt")).unwrap();
        fs::write(folder.join("ca.crt/theirs"), number).unwrap();
        assert_eq!(run(&dir, &[wanted(HOST, "1")]), []);
    }
    let found = tree(dir.path());
    assert_eq!(found[&format!("{HOST}/ca.crt")], "644 CA 1");
    for number in ["1", "2"] {
        let kept = fs::read_to_string(folder.join(format!("ca.crt.replaced-{number}/theirs")));
        assert_eq!(kept.unwrap(), number);
    }
    assert_eq!(run(&dir, &[]), []);
    assert_eq!(
        names(&dir),
        ["", "ca.crt.replaced-1/", "ca.crt.replaced-1/theirs", "ca.crt.replaced-2/", "ca.crt.replaced-2/theirs"]
            .map(|name| format!("{HOST}/{name}"))
    );
}

#[test]
fn a_link_to_a_folder_in_place_of_a_file_is_replaced_and_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();
    fs::write(target.path().join("theirs"), "theirs").unwrap();
    run(&dir, &[wanted(HOST, "1")]);
    let right = tree(dir.path());
    fs::remove_file(dir.path().join(HOST).join("ca.crt")).unwrap();
    symlink(target.path(), dir.path().join(HOST).join("ca.crt")).unwrap();
    assert_eq!(run(&dir, &[wanted(HOST, "1")]), []);
    assert_eq!(tree(dir.path()), right);
    assert!(target.path().join("theirs").exists());
}

#[test]
fn a_failed_write_is_reported_for_its_registry_and_host() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(format!(".package-registry-new.{HOST}")), "no folder").unwrap();
    let problems = run(&dir, &[wanted(HOST, "1"), wanted("b.io", "1")]);
    assert_eq!((problems.len(), problems[0].reason, problems[0].host.as_deref()), (1, Reason::WriteFailed, Some(HOST)));
    assert!(dir.path().join("b.io/hosts.toml").exists());
}

/// Does the first `count` actions that are due; false when there are no more than that.
fn crash_after(count: usize, dir: &Path, wanted: &[WantedFolder]) -> bool {
    let opened = open_trust_dir(dir).unwrap();
    let plan = plan(wanted, &observe(opened.as_fd()).unwrap(), SHOWN);
    let actions: Vec<Action> = plan.steps.into_iter().flat_map(|steps| steps.actions).collect();
    for action in actions.iter().take(count) {
        apply(opened.as_fd(), action).unwrap();
    }
    count < actions.len()
}

/// No runtime may ever find a hosts.toml whose CA isn't there: containerd then fails every pull of that host.
fn assert_no_hosts_toml_without_its_ca(dir: &Path) {
    for (path, _) in tree(dir) {
        if let Some(folder) = path.strip_suffix("/hosts.toml") {
            assert!(folder.starts_with(".package-registry-") || dir.join(folder).join("ca.crt").exists(), "{folder}");
        }
    }
}

#[test]
fn a_crash_after_any_action_is_completed_by_the_next_run() {
    let nothing: &[WantedFolder] = &[];
    let old = [wanted("a.io", "1"), wanted("b.io", "1")];
    let new = [wanted("a.io", "2"), wanted("b.io", "2")];
    let other = [wanted("b.io", "2"), wanted("c.io", "2")];
    for (before, during, after) in [
        (nothing, &old[..], &old[..]),
        (nothing, &old, nothing),
        (&old, &new, &new),
        (&old, &new, nothing),
        (&old, &other, &other),
        (&old, nothing, nothing),
        (&old, nothing, &old),
    ] {
        let ideal = tempfile::tempdir().unwrap();
        run(&ideal, after);
        let mut count = 0;
        loop {
            let dir = tempfile::tempdir().unwrap();
            run(&dir, before);
            let more = crash_after(count, dir.path(), during);
            assert_no_hosts_toml_without_its_ca(dir.path());
            assert_eq!(run(&dir, after), [], "crash after {count}");
            assert_eq!(tree(dir.path()), tree(ideal.path()), "crash after {count}");
            if !more {
                break;
            }
            count += 1;
        }
        assert!(count >= 8, "too few moments to crash at: {count}");
    }
}
