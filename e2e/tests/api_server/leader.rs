//! Two controllers at once.

use std::time::{Duration, Instant};

use e2e::{api_server::NAMESPACE, walk};

use crate::stage::{Stage, log_end, must, wait};

#[test]
fn of_two_controllers_one_leads_and_the_other_takes_over_when_it_dies_or_stops() {
    let stage = Stage::begin();
    let first = stage.controller("one");
    wait("the first controller to lead", || Ok(first.leads().unwrap_or(false).then_some(())));
    let second = stage.controller("two");
    wait("the second controller to answer", || Ok(second.leads().ok()));
    let place = stage.place("led");
    place.registry("");
    place.settle();
    assert!(first.leads().unwrap() && !second.leads().unwrap());
    assert_eq!(holder(&stage), "one");

    let begin = Instant::now();
    must(first.kill());
    wait("the second controller to lead", || Ok(second.leads()?.then_some(())));
    let took = begin.elapsed();
    // A lease lasts for 15 s; far less would be while the first could still write.
    assert!(took < Duration::from_secs(40), "the lease was taken over after {took:?}\n{}", log_end(&second));
    assert!(took > Duration::from_secs(5), "the lease was taken over while the first could still write: {took:?}");
    assert_eq!(holder(&stage), "two");
    place.registry("service: {type: NodePort}");
    wait("the successor to act", || {
        let service = walk::get(place.cluster, "service", &place.namespace, "main")?;
        Ok(service.filter(|service| service.text("/spec/type") == "NodePort"))
    });

    // Who stops frees the lease: nobody waits until it has run out.
    let third = stage.controller("three");
    wait("the third controller to answer", || Ok(third.leads().ok()));
    must(second.stop());
    let begin = Instant::now();
    wait("the third controller to lead", || Ok(third.leads()?.then_some(())));
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(10), "a free lease was taken after {took:?}\n{}", log_end(&third));
    place.settle();
    stage.finish(third);
}

fn holder(stage: &Stage) -> String {
    let lease = walk::get(stage.cluster(), "lease", NAMESPACE, "package-registry-controller").unwrap().unwrap();
    lease.text("/spec/holderIdentity").to_owned()
}
