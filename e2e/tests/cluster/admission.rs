//! The agents' namespace, the only one with privileges, lets nothing else in.

use e2e::walk;

use crate::site::{Place, site};

#[test]
fn nothing_but_the_agents_runs_in_their_namespace() {
    let place = Place::new("admission");
    place.registry("");
    place.registry_has("NodesTrusted", "True");
    let cluster = &site().cluster;
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: intruder, namespace: package-registry-system-node-trust}, spec: \
               {containers: [{name: a, image: 'example/hello:1.0'}]}}";
    let refusal = walk::apply(cluster, pod).expect_err("a pod must be refused").to_string();
    assert!(refusal.contains("only the node trust agents run in namespace"), "{refusal}");
    let namespace = "package-registry-system-node-trust";
    let edit = ["annotate", "daemonset", "-n", namespace, "package-registry-node-trust", "example.com/by=somebody"];
    let refusal = cluster.kubectl(&edit).expect_err("somebody else's edit of the agents must be refused").to_string();
    assert!(refusal.contains("only the node trust agents run in namespace"), "{refusal}");
    let job = "{apiVersion: batch/v1, kind: Job, metadata: {name: intruder, namespace: package-registry-system-node-trust}, \
               spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: 'example/hello:1.0'}]}}}}";
    let refusal = walk::apply(cluster, job).expect_err("a Job must be refused").to_string();
    assert!(refusal.contains("only the node trust agents run in namespace"), "{refusal}");
    place.leave();
}
