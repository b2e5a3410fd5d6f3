//! What the machine must be and have: root, Debian, Go; missing Debian packages are installed.

use std::process::{Command, Stdio};

use snafu::ensure;

use super::{
    command::{self, run},
    error::{PrerequisiteSnafu, Result},
    progress::Progress,
    versions::{CLIENT_PACKAGES, DEBIAN_PACKAGES, GO},
};

/// Fails unless the cluster can run on this machine; installs Debian packages that are missing.
pub(crate) fn ensure_all(progress: &Progress) -> Result<()> {
    let what = "The cluster's nodes need network and mount namespaces: run this as root.";
    ensure!(rustix::process::geteuid().is_root(), PrerequisiteSnafu { what });
    ensure_debian()?;
    ensure_go()?;
    install_packages(progress, &DEBIAN_PACKAGES)?;
    ensure_bridge_filter()
}

/// Fails unless clients of a registry can be had on this machine; installs Debian packages that are missing.
pub(crate) fn ensure_clients(progress: &Progress) -> Result<()> {
    ensure_debian()?;
    ensure_go()?;
    install_packages(progress, &CLIENT_PACKAGES)
}

fn ensure_debian() -> Result<()> {
    for tool in ["dpkg-query", "apt-get"] {
        let what = format!("The cluster runs on Debian and its derivatives; there is no {tool} here.");
        ensure!(works(tool, "--version"), PrerequisiteSnafu { what });
    }
    Ok(())
}

fn works(program: &str, argument: &str) -> bool {
    let quiet = || Stdio::null();
    Command::new(program)
        .arg(argument)
        .stdin(quiet())
        .stdout(quiet())
        .stderr(quiet())
        .status()
        .is_ok_and(|status| status.success())
}

/// Fails unless there is a Go that builds everything.
pub(crate) fn ensure_go() -> Result<()> {
    let (major, minor) = GO;
    let found = run(Command::new("go").args(["env", "GOVERSION"])).unwrap_or_default();
    let what = match found.trim() {
        "" => format!("Programs are built from source: install Go {major}.{minor} or newer so that `go` is in PATH."),
        found => format!(
            "Go {major}.{minor} or newer is needed to build programs from source, and `go` in PATH is {found}: install a newer one."
        ),
    };
    ensure!(go_version(&found).is_some_and(|version| version >= GO), PrerequisiteSnafu { what });
    Ok(())
}

/// Major and minor version out of `go1.26.8`, `go1.27rc1` and the like.
fn go_version(version: &str) -> Option<(u32, u32)> {
    let (major, rest) = version.trim().strip_prefix("go")?.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn install_packages(progress: &Progress, packages: &[&'static str]) -> Result<()> {
    let missing = missing_packages(packages)?;
    if missing.is_empty() {
        return Ok(());
    }
    progress.say(&format!("installing Debian packages: {}", missing.join(" ")));
    let apt =
        |arguments: &[&str]| run(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"));
    apt(&["update", "-q"])?;
    let mut arguments = vec!["install", "-q", "-y", "--no-install-recommends"];
    arguments.extend(&missing);
    apt(&arguments)?;
    Ok(())
}

fn missing_packages(packages: &[&'static str]) -> Result<Vec<&'static str>> {
    // dpkg-query fails when it does not know one of the packages, and lists the others all the same.
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${Package} ${db:Status-Status}\n"]).args(packages);
    let listed = command::output(&mut query)?;
    Ok(not_installed(packages, &String::from_utf8_lossy(&listed.stdout)))
}

fn not_installed(packages: &[&'static str], listed: &str) -> Vec<&'static str> {
    let installed = |package: &str| listed.lines().any(|line| line.split_once(' ') == Some((package, "installed")));
    packages.iter().copied().filter(|package| !installed(package)).collect()
}

/// Pods of one node reach a service of theirs only if bridged packets pass iptables.
fn ensure_bridge_filter() -> Result<()> {
    if std::path::Path::new("/proc/sys/net/bridge").exists() {
        return Ok(());
    }
    run(Command::new("modprobe").arg("br_netfilter"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_versions_are_compared_as_numbers() {
        assert_eq!(go_version("go1.26.8\n"), Some((1, 26)));
        assert_eq!(go_version("go1.27rc1"), Some((1, 27)));
        assert_eq!(go_version("devel"), None);
        assert!(go_version("go1.9").unwrap() < GO);
    }

    #[test]
    fn packages_that_were_removed_count_as_missing() {
        let listed = DEBIAN_PACKAGES
            .map(|package| match package {
                "runc" => String::new(),
                "socat" => "socat config-files".to_owned(),
                other => format!("{other} installed"),
            })
            .join("\n");
        assert_eq!(not_installed(&DEBIAN_PACKAGES, &listed), ["runc", "socat"]);
    }
}
