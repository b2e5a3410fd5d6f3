//! From the ConfigMap's content to the folders that should be on a node, checked once, here.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::desired::{Desired, TrustedRegistry};
use crate::folder::WantedFolder;
use crate::host_name::HostName;
use crate::hosts_toml::{self, Route};
use crate::report::{Problem, Reason};

/// The `PackageRegistry` that something on a node belongs to.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Owner {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A registry to be proved reachable.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// Whose it is.
    pub owner: Owner,
    /// Addresses, one of which has to answer.
    pub addresses: Vec<IpAddr>,
    /// Port at all of them.
    pub port: u16,
    /// PEM certificates, the only ones to trust.
    pub ca_bundle: String,
}

/// All that a configuration asks of a node.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Entries {
    /// Folders for containerd: hosts and mirrored upstreams.
    pub containerd: Vec<WantedFolder>,
    /// Folders for docker: hosts, with the CA alone; docker can neither be sent to an address nor mirror by name.
    pub docker: Vec<WantedFolder>,
    /// What has to answer, one a registry.
    pub targets: Vec<Target>,
    /// Entries that can't be followed; the others are.
    pub problems: Vec<Problem>,
}

#[derive(Clone, Copy)]
enum Use {
    Host,
    Mirror,
}

/// Reads a configuration. `host_certs_dir` is the trust folder as the runtime sees it, for paths inside hosts.toml.
///
/// A host name belongs to the registry that names it first; the controller has decided already, so this is a second wall.
#[must_use]
pub fn entries(desired: &Desired, host_certs_dir: &str) -> Entries {
    let mut entries = Entries::default();
    let mut taken = BTreeMap::new();
    for registry in &desired.registries {
        let owner = Owner { namespace: registry.namespace.clone(), name: registry.name.clone() };
        match target(registry, &owner) {
            Ok(target) => {
                for (names, what) in [(&registry.hosts, Use::Host), (&registry.mirrors, Use::Mirror)] {
                    for name in names {
                        match claim(name, &owner, &mut taken) {
                            Ok(host) => entries.add(&host, what, &target, host_certs_dir),
                            Err(problem) => entries.problems.push(*problem),
                        }
                    }
                }
                entries.targets.push(target);
            }
            Err(message) => entries.problems.push(Problem::of(&owner, None, Reason::WriteFailed, message)),
        }
    }
    entries
}

impl Entries {
    fn add(&mut self, host: &HostName, what: Use, target: &Target, host_certs_dir: &str) {
        let ca_file = format!("{}/{host}/ca.crt", host_certs_dir.trim_end_matches('/'));
        let route = Route { addresses: &target.addresses, port: target.port, ca_file: &ca_file };
        let hosts_toml = match what {
            Use::Host => hosts_toml::own_host(route),
            Use::Mirror => hosts_toml::mirror(host, route),
        };
        let folder = |hosts_toml| WantedFolder {
            host: host.clone(),
            owner: target.owner.clone(),
            ca_bundle: target.ca_bundle.clone(),
            hosts_toml,
        };
        if matches!(what, Use::Host) {
            self.docker.push(folder(None));
        }
        self.containerd.push(folder(Some(hosts_toml)));
    }
}

fn target(registry: &TrustedRegistry, owner: &Owner) -> Result<Target, String> {
    let mut addresses = Vec::new();
    for address in &registry.addresses {
        addresses.push(
            address.parse::<IpAddr>().map_err(|_| {
                format!("addresses: {address:?} isn't an IP address; it takes the Service's cluster IPs")
            })?,
        );
    }
    if addresses.is_empty() {
        return Err("addresses: there are none; it takes the Service's cluster IPs".to_owned());
    }
    if registry.port == 0 {
        return Err("port: 0 isn't one; it takes the Service's port".to_owned());
    }
    // containerd fails every pull of a host whose CA file it can't use, a mirrored upstream's too.
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(registry.ca_bundle.as_bytes()).collect();
    if certificates.map_or(true, |certificates| certificates.is_empty()) {
        return Err("caBundle: there is no certificate in it that can be read; it takes PEM".to_owned());
    }
    Ok(Target { owner: owner.clone(), addresses, port: registry.port, ca_bundle: registry.ca_bundle.clone() })
}

fn claim(name: &str, owner: &Owner, taken: &mut BTreeMap<HostName, Owner>) -> Result<HostName, Box<Problem>> {
    let refused = |reason, message| Box::new(Problem::of(owner, Some(name), reason, message));
    let host: HostName = name.parse().map_err(|error| refused(Reason::WriteFailed, format!("{error}")))?;
    if let Some(first) = taken.get(&host) {
        let message = format!(
            "{host} belongs to the PackageRegistry {}/{} already; take it out of one of the two",
            first.namespace, first.name
        );
        return Err(refused(Reason::NameTaken, message));
    }
    taken.insert(host.clone(), owner.clone());
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    fn registry(name: &str, hosts: &[&str], mirrors: &[&str]) -> TrustedRegistry {
        TrustedRegistry {
            namespace: "packages".into(),
            name: name.into(),
            hosts: hosts.iter().map(ToString::to_string).collect(),
            mirrors: mirrors.iter().map(ToString::to_string).collect(),
            addresses: vec!["10.96.0.7".into()],
            port: 443,
            ca_bundle: PEM.into(),
        }
    }

    fn names(folders: &[WantedFolder]) -> Vec<(&str, &str)> {
        folders.iter().map(|folder| (folder.host.as_str(), folder.owner.name.as_str())).collect()
    }

    #[test]
    fn hosts_go_to_both_runtimes_and_mirrors_to_containerd_alone() {
        let desired = Desired { registries: vec![registry("one", &["one.packages.svc"], &["docker.io"])] };
        let entries = entries(&desired, "/etc/containerd/certs.d/");
        assert_eq!(names(&entries.containerd), [("one.packages.svc", "one"), ("docker.io", "one")]);
        assert_eq!(names(&entries.docker), [("one.packages.svc", "one")]);
        assert_eq!(entries.problems, []);
        let hosts_toml = entries.containerd[1].hosts_toml.as_deref().unwrap();
        assert!(hosts_toml.contains("ca = \"/etc/containerd/certs.d/docker.io/ca.crt\""), "{hosts_toml}");
    }

    #[test]
    fn a_name_belongs_to_the_first_registry_that_has_it() {
        let desired = Desired {
            registries: vec![
                registry("one", &["one.packages.svc"], &["docker.io"]),
                registry("two", &["two.packages.svc"], &["docker.io"]),
            ],
        };
        let entries = entries(&desired, "/etc/containerd/certs.d");
        assert_eq!(
            names(&entries.containerd),
            [("one.packages.svc", "one"), ("docker.io", "one"), ("two.packages.svc", "two")]
        );
        assert_eq!(entries.problems.len(), 1);
        let problem = &entries.problems[0];
        assert_eq!(
            (problem.reason, problem.name.as_deref(), problem.host.as_deref()),
            (Reason::NameTaken, Some("two"), Some("docker.io"))
        );
        assert!(problem.message.contains("packages/one"), "{}", problem.message);
    }

    #[test]
    fn one_wrong_name_leaves_the_other_names_of_its_registry() {
        let desired = Desired { registries: vec![registry("one", &["../../etc", "one.packages.svc"], &[])] };
        let entries = entries(&desired, "/c");
        assert_eq!(names(&entries.containerd), [("one.packages.svc", "one")]);
        assert_eq!(entries.problems[0].host.as_deref(), Some("../../etc"));
    }

    #[test]
    fn a_registry_without_a_usable_address_port_or_ca_gets_no_folder_and_says_which_field() {
        for (spoil, field) in [
            ((|registry| registry.addresses.clear()) as fn(&mut TrustedRegistry), "addresses:"),
            (|registry| registry.addresses = vec!["registry".into()], "addresses:"),
            (|registry| registry.port = 0, "port:"),
            (|registry| registry.ca_bundle.clear(), "caBundle:"),
        ] {
            let mut spoilt = registry("one", &["one.packages.svc"], &[]);
            spoil(&mut spoilt);
            let entries = entries(&Desired { registries: vec![spoilt] }, "/c");
            assert_eq!((entries.containerd.len(), entries.targets.len()), (0, 0), "{field}");
            assert!(entries.problems[0].message.starts_with(field), "{}", entries.problems[0].message);
        }
    }
}
