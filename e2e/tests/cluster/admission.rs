//! The agents' namespace, the only one with privileges, lets nothing else in.

use e2e::walk;

use crate::site::site;

#[test]
fn nothing_but_the_agents_runs_in_their_namespace() {
    let cluster = &site().cluster;
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: intruder, namespace: package-registry-system-node-trust}, spec: \
               {containers: [{name: a, image: 'example/hello:1.0'}]}}";
    let refusal = walk::apply(cluster, pod).expect_err("a pod must be refused").to_string();
    assert!(refusal.contains("only the node trust agents run in namespace"), "{refusal}");
    let set = "{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: package-registry-node-trust, namespace: \
               package-registry-system-node-trust}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: \
               {a: b}}, spec: {containers: [{name: a, image: 'example/hello:1.0'}]}}}}";
    let refusal = walk::apply(cluster, set).expect_err("somebody else's DaemonSet must be refused").to_string();
    assert!(refusal.contains("only the node trust agents run in namespace"), "{refusal}");
}
