//! `registry.mount-volume`: a place in the container and perhaps a node. Which volume it is, the original left to the agents;
//! here `spec` says it, or it is the folder of the same path on the node (decision 21).

use crds::VolumeStorage;
use serde_json::{Map, Value};

use super::{Mapping, OptionsError, text, wrong};

const AT: &str = "registry.mount-volume";

impl Mapping {
    /// Maps the volume; `given` is what the options say as in a PackageRegistry.
    pub(super) fn volume(&mut self, volume: &Map<String, Value>, given: Option<&Value>) -> Result<(), OptionsError> {
        let given = |field: &str| given.and_then(|spec| spec.pointer(&format!("/storage/volume/{field}")));
        let path = text(volume, AT, "container-path")?.map(|path| path.trim_end_matches('/').to_owned());
        let node = text(volume, AT, "pinned-hostname")?;
        if path.is_none() && node.is_none() {
            return Ok(());
        }
        if let Some(path) = &path {
            self.put("storage.volume.containerPath", path.clone().into(), "registry.mount-volume.container-path")?;
        }
        let (claim, folder) = (given("claimName"), given("hostPath"));
        let Some(node) = node else {
            if claim.is_some() || (folder.is_some() && given("nodeName").is_some()) {
                return Ok(());
            }
            let right = r#"needs registry.mount-volume.pinned-hostname, the name of the node with the volume; or a claim that is there: {"spec": {"storage": {"volume": {"claimName": "…"}}}}"#;
            return wrong(AT, right);
        };
        if claim.is_some() {
            let right = "is not for a claim (spec.storage.volume.claimName), which knows by itself where its volume is";
            return wrong("registry.mount-volume.pinned-hostname", right);
        }
        self.put("storage.volume.nodeName", node.clone().into(), "registry.mount-volume.pinned-hostname")?;
        let in_container = VolumeStorage { container_path: path, ..VolumeStorage::default() };
        let of_path = || in_container.absolute_container_path();
        let folder = folder.and_then(Value::as_str).map_or_else(of_path, str::to_owned);
        self.put("storage.volume.hostPath", folder.clone().into(), AT)?;
        self.notes.push(format!(
            "{AT}: the content is kept in the folder {folder} of node {node}, which must exist: mkdir -p {folder}, or mount the \
             disk there. For another one write spec.storage.volume.hostPath into the options. Folders of nodes can be used only \
             in namespaces that the operator's --privileged-namespaces names"
        ));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Plan, plan};
    use super::*;

    fn planned(options: &Value) -> (Value, Vec<String>) {
        let Plan { object, notes } = plan(Some(&options.to_string()), None, None).unwrap();
        (object["spec"]["storage"]["volume"].clone(), notes)
    }

    #[test]
    fn a_pinned_volume_is_the_folder_of_the_same_path_on_its_node_and_the_user_is_told() {
        for (volume, expected) in [
            (
                json!({"container-path": "package-registry", "pinned-hostname": "n1"}),
                json!({"containerPath": "package-registry", "nodeName": "n1", "hostPath": "/var/lib/package-registry"}),
            ),
            (
                json!({"container-path": "/srv/packages/", "pinned-hostname": "n1"}),
                json!({"containerPath": "/srv/packages", "nodeName": "n1", "hostPath": "/srv/packages"}),
            ),
            (json!({"pinned-hostname": "n1"}), json!({"nodeName": "n1", "hostPath": "/var/lib/package-registry"})),
        ] {
            let (found, notes) = planned(&json!({"registry": {"mount-volume": volume}}));
            assert_eq!(found, expected);
            let folder = expected["hostPath"].as_str().unwrap();
            for word in [folder, "n1", "mkdir", "--privileged-namespaces", "spec.storage.volume.hostPath"] {
                assert!(notes[0].contains(word), "no {word:?} in {notes:?}");
            }
        }
    }

    #[test]
    fn a_folder_or_a_claim_of_the_spec_goes_first() {
        let options = json!({
            "registry": {"mount-volume": {"container-path": "package-registry", "pinned-hostname": "n1"}},
            "spec": {"storage": {"volume": {"hostPath": "/dcos/volume0"}}},
        });
        let (found, notes) = planned(&options);
        let expected = json!({"containerPath": "package-registry", "nodeName": "n1", "hostPath": "/dcos/volume0"});
        assert_eq!(found, expected);
        assert!(notes[0].contains("mkdir -p /dcos/volume0"), "{notes:?}");
        let options = json!({
            "registry": {"mount-volume": {"container-path": "package-registry"}},
            "spec": {"storage": {"volume": {"claimName": "packages"}}},
        });
        assert_eq!(
            planned(&options),
            (json!({"containerPath": "package-registry", "claimName": "packages"}), Vec::new())
        );
    }

    #[test]
    fn a_volume_that_nothing_names_is_refused_with_both_ways_on() {
        let refused = |options: Value| plan(Some(&options.to_string()), None, None).unwrap_err().to_string();
        let said = refused(json!({"registry": {"mount-volume": {"container-path": "package-registry"}}}));
        assert!(said.contains("pinned-hostname") && said.contains("claimName"), "{said}");
        let said = refused(json!({
            "registry": {"mount-volume": {"pinned-hostname": "n1"}},
            "spec": {"storage": {"volume": {"claimName": "packages"}}},
        }));
        assert!(said.contains("registry.mount-volume.pinned-hostname: is not for a claim"), "{said}");
    }

    #[test]
    fn a_volume_that_is_listed_as_empty_is_not_used() {
        let empty = json!({"container-path": "", "pinned-hostname": ""});
        let options = json!({"service": {"disk": 1024}, "registry": {"mount-volume": empty}});
        let Plan { object, notes } = plan(Some(&options.to_string()), None, None).unwrap();
        assert_eq!((&object["spec"]["storage"], notes.len()), (&json!({"local": {"size": "1024Mi"}}), 0));
    }

    #[test]
    fn a_size_is_not_used_for_a_volume_that_exists() {
        let options = json!({"service": {"disk": 1024}, "registry": {"mount-volume": {"pinned-hostname": "n1"}}});
        let Plan { object, notes } = plan(Some(&options.to_string()), None, None).unwrap();
        assert_eq!(object["spec"]["storage"].get("local"), None);
        assert!(notes[0].contains("service.disk is not used"), "{notes:?}");
    }
}
