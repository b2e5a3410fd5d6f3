//! containerd's `hosts.toml`: where a registry host's images really come from.
//!
//! Form: containerd's registry host configuration, the same in 1.6, 1.7 and 2.x. Only pulling goes this way, so pushes to a
//! mirrored upstream still reach the upstream.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::host_name::HostName;

/// Where nodes reach a registry, and the file with the certificates to trust there.
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    /// Addresses, in the order they are tried.
    pub addresses: &'a [IpAddr],
    /// Port at all of them.
    pub port: u16,
    /// CA file as the runtime sees it.
    pub ca_file: &'a str,
}

/// First line of every file of ours: it tells whose a folder is whose marker is gone.
pub const HEADER: &str = "# Written by the Package Registry's node trust agent; changes are undone.\n";
const CAPABILITIES: &str = "capabilities = [\"pull\", \"resolve\"]\n";

/// For a host name of the registry's own.
///
/// Without `server` containerd would at last ask the host by its name, through the node's DNS and with public CAs; so the
/// first address stands there too.
#[must_use]
pub fn own_host(route: Route<'_>) -> String {
    let mut text = HEADER.to_owned();
    if let Some(&first) = route.addresses.first() {
        push_line(&mut text, "server", &base_url(first, route.port));
        text.push_str(CAPABILITIES);
        push_line(&mut text, "ca", route.ca_file);
    }
    for &address in route.addresses {
        push_host(&mut text, &base_url(address, route.port), route.ca_file);
    }
    text
}

/// For an upstream that the registry is asked for first; the upstream itself comes after.
#[must_use]
pub fn mirror(upstream: &HostName, route: Route<'_>) -> String {
    let mut text = HEADER.to_owned();
    push_line(&mut text, "server", &upstream_url(upstream));
    // A repository name has no colon: the registry serves `localhost:5000/x` as `localhost-5000/x`.
    let upstream = upstream.to_string().replace(':', "-");
    for &address in route.addresses {
        push_host(&mut text, &format!("{}/v2/{upstream}", base_url(address, route.port)), route.ca_file);
        text.push_str("override_path = true\n");
    }
    text
}

/// `https://` and the address, in brackets where it takes them, without the port that HTTPS implies.
#[must_use]
pub fn base_url(address: IpAddr, port: u16) -> String {
    let host = match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    if port == 443 { format!("https://{host}") } else { format!("https://{host}:{port}") }
}

/// Docker Hub's registry is not at the host that its images are named by; containerd knows that host by heart too.
fn upstream_url(upstream: &HostName) -> String {
    match upstream.as_str() {
        "docker.io" => "https://registry-1.docker.io".to_owned(),
        other => format!("https://{other}"),
    }
}

fn push_host(text: &mut String, url: &str, ca_file: &str) {
    // Writing to a string can't fail.
    let _ = writeln!(text, "\n[host.{}]", quoted(url));
    text.push_str(CAPABILITIES);
    push_line(text, "ca", ca_file);
}

fn push_line(text: &mut String, key: &str, value: &str) {
    let _ = writeln!(text, "{key} = {}", quoted(value));
}

/// A TOML basic string, always on one line.
fn quoted(value: &str) -> String {
    let mut text = String::from("\"");
    for character in value.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(text, "\\u{:04X}", u32::from(control));
            }
            plain => text.push(plain),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn route<'a>(addresses: &'a [IpAddr], port: u16, ca_file: &'a str) -> Route<'a> {
        Route { addresses, port, ca_file }
    }

    #[test]
    fn an_own_host_is_reached_at_every_address_with_its_ca() {
        let addresses = ["10.96.0.7".parse().unwrap(), "fd00::7".parse().unwrap()];
        let text = own_host(route(&addresses, 443, "/etc/containerd/certs.d/r.p.svc/ca.crt"));
        assert_eq!(
            text,
            r#"# Written by the Package Registry's node trust agent; changes are undone.
server = "https://10.96.0.7"
capabilities = ["pull", "resolve"]
ca = "/etc/containerd/certs.d/r.p.svc/ca.crt"

[host."https://10.96.0.7"]
capabilities = ["pull", "resolve"]
ca = "/etc/containerd/certs.d/r.p.svc/ca.crt"

[host."https://[fd00::7]"]
capabilities = ["pull", "resolve"]
ca = "/etc/containerd/certs.d/r.p.svc/ca.crt"
"#
        );
    }

    #[test]
    fn a_mirror_falls_through_to_its_upstream() {
        let addresses = ["10.96.0.7".parse().unwrap()];
        let text = mirror(&"docker.io".parse().unwrap(), route(&addresses, 8443, "/c/docker.io/ca.crt"));
        assert_eq!(
            text,
            r#"# Written by the Package Registry's node trust agent; changes are undone.
server = "https://registry-1.docker.io"

[host."https://10.96.0.7:8443/v2/docker.io"]
capabilities = ["pull", "resolve"]
ca = "/c/docker.io/ca.crt"
override_path = true
"#
        );
        assert!(
            mirror(&"quay.io".parse().unwrap(), route(&addresses, 443, "/c")).contains("server = \"https://quay.io\"")
        );
    }

    proptest! {
        #[test]
        fn a_toml_reader_gets_back_what_was_rendered(
            addresses in proptest::collection::hash_set(any::<IpAddr>(), 1..4),
            port in 1_u16..,
            ca_file in "\\PC{0,30}|[\\x00-\\x7f]{0,30}",
        ) {
            let addresses: Vec<IpAddr> = addresses.into_iter().collect();
            let upstream: HostName = "quay.io".parse().unwrap();
            for (text, path, with_override) in [
                (own_host(route(&addresses, port, &ca_file)), "", false),
                (mirror(&upstream, route(&addresses, port, &ca_file)), "/v2/quay.io", true),
            ] {
                let table: toml::Table = text.parse().unwrap();
                let hosts = table["host"].as_table().unwrap();
                prop_assert_eq!(hosts.len(), addresses.len());
                for &address in &addresses {
                    let host = hosts[&format!("{}{path}", base_url(address, port))].as_table().unwrap();
                    prop_assert_eq!(host["ca"].as_str(), Some(ca_file.as_str()));
                    prop_assert_eq!(host.contains_key("override_path"), with_override);
                }
            }
        }
    }
}
