//! An undisturbed controller.

use std::{thread::sleep, time::Duration};

use crate::stage::{Stage, log_end, must, wait};

#[test]
fn a_controller_that_finds_everything_as_it_should_be_changes_nothing_but_its_lease() {
    let stage = Stage::begin();
    let controller = stage.controller("one");
    let place = stage.place("quiet");
    place.registry("");
    place.settle();
    // The last thing that it says is an Event.
    wait("the controller to fall silent", || {
        let moment = stage.audit_log().now()?;
        sleep(Duration::from_secs(2));
        Ok(stage.changes(moment).is_empty().then_some(()))
    });

    let moment = stage.audit_log().now().unwrap();
    place.touch();
    sleep(Duration::from_secs(8));
    must(controller.kill());
    // A new process remembers nothing: everything that it needs to know is in the cluster.
    let controller = stage.controller("one");
    sleep(Duration::from_secs(12));

    let requests = stage.requests(moment);
    let read = |resource: &str| requests.iter().filter(|request| request.resource == resource).count();
    assert!(read("persistentvolumeclaims") >= 3, "there were no passes: {requests:#?}\n{}", log_end(&controller));
    assert!(requests.iter().any(|request| request.resource == "leases" && request.is_mutating()));
    let mut changes = stage.changes(moment);
    changes.retain(|request| request.resource != "serviceaccounts/token");
    assert!(changes.is_empty(), "{changes:#?}\n{}", log_end(&controller));
    stage.finish(controller);
}
