//! The network: a bridge, a network namespace per node behind a veth pair, and a route to each node's pods.
//!
//! Nodes have no default route: like the air-gapped clusters that the product is made for, nothing in them reaches the
//! internet, and an attempt fails at once instead of hanging. The machine's own sysctls stay as they are.

use std::process::Command;

use super::{
    command::{output, run, run_line, write},
    error::{PrerequisiteSnafu, Result},
    journal::{Act, Journal},
    versions::{BRIDGE, HOST_ADDRESS, NODE_PREFIX, NODES, Node, POD_RANGE, SERVICE_RANGE},
};

/// Makes bridge, namespaces and routes.
pub(crate) fn create(journal: &mut Journal) -> Result<()> {
    check_ranges(&run_line("ip -4 route show table main")?)?;
    journal.record(&Act::Link(BRIDGE.to_owned()))?;
    run_line(&format!("ip link add {BRIDGE} type bridge"))?;
    run_line(&format!("ip address add {HOST_ADDRESS}/{NODE_PREFIX} dev {BRIDGE}"))?;
    run_line(&format!("ip link set {BRIDGE} up"))?;
    allow_bridged_traffic(journal)?;
    for node in NODES {
        connect(journal, node)?;
    }
    // The machine reaches pods at their node, and services through the first node's kube-proxy.
    for node in NODES {
        run_line(&format!("ip route add {} via {}", node.pod_range(), node.address()))?;
    }
    run_line(&format!("ip route add {SERVICE_RANGE} via {}", NODES[0].address()))?;
    Ok(())
}

/// Fails if the machine uses one of the cluster's address ranges already.
fn check_ranges(routes: &str) -> Result<()> {
    let ours = ["10.230.0.", "10.231.", "10.232."];
    let Some(route) = routes.lines().find(|route| ours.iter().any(|range| route.starts_with(range))) else {
        return Ok(());
    };
    let what = format!(
        "The cluster uses the addresses {HOST_ADDRESS}/{NODE_PREFIX}, {POD_RANGE} and {SERVICE_RANGE}, and this machine has the route `{route}` already."
    );
    PrerequisiteSnafu { what }.fail()
}

/// Bridged packets pass the machine's FORWARD chain; where that drops by default, ours need a rule.
fn allow_bridged_traffic(journal: &mut Journal) -> Result<()> {
    let chain = run_line("iptables -S FORWARD")?;
    if chain.trim() == "-P FORWARD ACCEPT" {
        return Ok(());
    }
    let rule: Vec<String> = ["-i", BRIDGE, "-o", BRIDGE, "-j", "ACCEPT"].map(str::to_owned).to_vec();
    journal.record(&Act::ForwardRule(rule.clone()))?;
    run(Command::new("iptables").args(["-w", "-I", "FORWARD"]).args(rule))?;
    Ok(())
}

/// Makes a node's namespace, pinned by a file, and connects it to the bridge.
fn connect(journal: &mut Journal, node: Node) -> Result<()> {
    let namespace = node.state("netns");
    write(&namespace, "")?;
    let namespace = namespace.display();
    run_line(&format!("unshare --net={namespace} true"))?;
    let link = node.host_link();
    journal.record(&Act::Link(link.clone()))?;
    run_line(&format!("ip link add {link} type veth peer name eth0 netns {namespace}"))?;
    run_line(&format!("ip link set {link} master {BRIDGE} up"))?;
    let inside = |line: &str| run_line(&format!("nsenter --net={namespace} {line}"));
    inside("ip link set lo up")?;
    inside(&format!("ip address add {}/{NODE_PREFIX} dev eth0", node.address()))?;
    inside("ip link set eth0 up")?;
    for other in NODES.into_iter().filter(|other| *other != node) {
        inside(&format!("ip route add {} via {}", other.pod_range(), other.address()))?;
    }
    // A connection from the node itself needs a route before kube-proxy's rules turn the address into a pod's.
    inside(&format!("ip route add {SERVICE_RANGE} dev eth0"))?;
    inside("sysctl -q -w net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1")?;
    Ok(())
}

/// Removes an interface if it exists.
pub(crate) fn remove_link(name: &str) -> Result<()> {
    if output(Command::new("ip").args(["link", "show", "dev", name]))?.status.success() {
        run_line(&format!("ip link delete {name}"))?;
    }
    Ok(())
}

/// Removes a rule of the FORWARD chain if it is there.
pub(crate) fn remove_forward_rule(rule: &[String]) -> Result<()> {
    let iptables = |act: &str| output(Command::new("iptables").args(["-w", act, "FORWARD"]).args(rule));
    while iptables("-C")?.status.success() {
        iptables("-D")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_uses_the_clusters_addresses_is_refused() {
        let routes = "default via 192.0.2.1 dev eth0\n10.232.7.0/24 dev vpn0 scope link\n";
        let message = check_ranges(routes).unwrap_err().to_string();
        assert!(message.contains("10.232.7.0/24 dev vpn0") && message.contains("KUBECONFIG"), "{message}");
    }

    #[test]
    fn other_private_networks_do_no_harm() {
        check_ranges("default via 10.0.0.1 dev eth0\n10.88.0.0/16 dev podman0\n").unwrap();
    }
}
