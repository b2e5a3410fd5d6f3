//! What to do so that a trust folder becomes what it should be.

use std::collections::{BTreeMap, BTreeSet};

use crate::entries::Owner;
use crate::folder::{Foreign, Observed, ObservedFolder, OwnFile, OwnFolder, TEMPORARY_PREFIX, WantedFolder};
use crate::report::{Problem, Reason};

/// One change that happens whole or not at all. After each of them a crash leaves what the next plan completes, and the
/// runtime never sees a hosts.toml whose CA isn't there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Makes a folder, or takes the one that is there.
    MakeFolder {
        /// Its name.
        folder: String,
    },
    /// Gives a folder the right mode.
    FixMode {
        /// Its name.
        folder: String,
    },
    /// Writes and syncs a file under its temporary name.
    Stage {
        /// The folder.
        folder: String,
        /// Which file.
        file: OwnFile,
        /// All of it.
        content: Vec<u8>,
    },
    /// Renames a staged file to its name.
    Publish {
        /// The folder.
        folder: String,
        /// Which file.
        file: OwnFile,
    },
    /// Renames a folder; one of the new name must be empty or not be there.
    MoveFolder {
        /// Its name.
        from: String,
        /// Its new name.
        to: String,
    },
    /// Removes a file.
    RemoveFile {
        /// The folder.
        folder: String,
        /// The file's name.
        name: String,
    },
    /// Removes a folder if it is empty.
    RemoveFolder {
        /// Its name.
        folder: String,
    },
}

/// The actions for one host, in order. When one fails the rest can't be done, those of other hosts can.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Steps {
    /// The registry to report a failure for; absent for what is removed.
    pub owner: Option<Owner>,
    /// The host or upstream.
    pub host: String,
    /// What to do.
    pub actions: Vec<Action>,
}

/// All that is to be done, and what can't be.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Plan {
    /// By host, what goes first.
    pub steps: Vec<Steps>,
    /// Folders that belong to somebody else.
    pub problems: Vec<Problem>,
}

/// Compares what should be with what is. `shown_dir` is the trust folder's path on the node, for messages.
///
/// An empty folder of a wanted name is taken over: nobody can have meant anything by it, and runtimes treat it as none.
#[must_use]
pub fn plan(wanted: &[WantedFolder], observed: &Observed, shown_dir: &str) -> Plan {
    let mut plan = Plan::default();
    for (folder, files) in &observed.leftovers {
        plan.push(None, folder, clear(folder, files));
    }
    let names: BTreeMap<&str, &WantedFolder> = wanted.iter().map(|folder| (folder.host.as_str(), folder)).collect();
    for (name, folder) in &observed.folders {
        if let (ObservedFolder::Own(own), false) = (folder, names.contains_key(name.as_str())) {
            plan.push(None, name, remove(name, own));
        }
    }
    for folder in wanted {
        match missing(folder, observed) {
            Ok(actions) => plan.push(Some(&folder.owner), folder.host.as_str(), actions),
            Err((name, foreign)) => {
                let message = refusal(&format!("{shown_dir}/{name}"), &foreign);
                plan.problems.push(Problem::of(&folder.owner, Some(folder.host.as_str()), Reason::NameTaken, message));
            }
        }
    }
    plan
}

impl Plan {
    fn push(&mut self, owner: Option<&Owner>, host: &str, actions: Vec<Action>) {
        if !actions.is_empty() {
            self.steps.push(Steps { owner: owner.cloned(), host: host.to_owned(), actions });
        }
    }
}

/// What a wanted folder lacks, or the name of what stands in its way.
fn missing(wanted: &WantedFolder, observed: &Observed) -> Result<Vec<Action>, (String, Foreign)> {
    if let Some(preferred) = wanted.host.preferred_folder().filter(|name| observed.folders.contains_key(name)) {
        return Err((preferred, Foreign::Unmarked));
    }
    match observed.folders.get(wanted.host.as_str()) {
        None | Some(ObservedFolder::Empty) => Ok(make(wanted)),
        Some(ObservedFolder::Own(own)) => Ok(repair(wanted, own)),
        Some(ObservedFolder::Foreign(foreign)) => Err((wanted.host.to_string(), foreign.clone())),
    }
}

/// A new folder is filled under another name, so it is marked and complete from the moment it has its own.
fn make(wanted: &WantedFolder) -> Vec<Action> {
    let making = format!("{TEMPORARY_PREFIX}new.{}", wanted.host);
    let mut actions = vec![Action::MakeFolder { folder: making.clone() }];
    for (file, content) in wanted.files() {
        actions.extend(write(&making, file, content));
    }
    actions.push(Action::MoveFolder { from: making, to: wanted.host.to_string() });
    actions
}

fn repair(wanted: &WantedFolder, own: &OwnFolder) -> Vec<Action> {
    let folder = wanted.host.as_str();
    let mut actions = Vec::new();
    if own.wrong_mode {
        actions.push(Action::FixMode { folder: folder.to_owned() });
    }
    actions.extend(own.temporary.iter().map(|name| remove_file(folder, name)));
    for (file, content) in wanted.files() {
        if own.files.get(&file).and_then(Option::as_ref) != Some(&content) {
            actions.extend(write(folder, file, content));
        }
    }
    actions
}

/// hosts.toml goes first, so that the runtime never looks for a CA that is gone. The marker stays until nothing of ours is
/// left under a runtime's eyes, and is written anew where somebody deleted it: without it nothing would tell after a crash
/// whose the rest is. Somebody else's files keep the folder.
fn remove(name: &str, own: &OwnFolder) -> Vec<Action> {
    let mut actions: Vec<Action> = own.temporary.iter().map(|file| remove_file(name, file)).collect();
    if !own.files.contains_key(&OwnFile::Marker) {
        actions.extend(write(name, OwnFile::Marker, Vec::new()));
    }
    let ours = [OwnFile::HostsToml, OwnFile::Ca].into_iter().filter(|file| own.files.contains_key(file));
    actions.extend(ours.map(|file| remove_file(name, file.name())));
    if own.has_others {
        actions.push(remove_file(name, OwnFile::Marker.name()));
    } else {
        let removing = format!("{TEMPORARY_PREFIX}removed.{name}");
        actions.push(Action::MoveFolder { from: name.to_owned(), to: removing.clone() });
        actions.extend(clear(&removing, &BTreeSet::from([OwnFile::Marker.name().to_owned()])));
    }
    actions
}

fn clear(folder: &str, files: &BTreeSet<String>) -> Vec<Action> {
    let mut actions: Vec<Action> = files.iter().map(|name| remove_file(folder, name)).collect();
    actions.push(Action::RemoveFolder { folder: folder.to_owned() });
    actions
}

fn write(folder: &str, file: OwnFile, content: Vec<u8>) -> [Action; 2] {
    [Action::Stage { folder: folder.to_owned(), file, content }, Action::Publish { folder: folder.to_owned(), file }]
}

fn remove_file(folder: &str, name: &str) -> Action {
    Action::RemoveFile { folder: folder.to_owned(), name: name.to_owned() }
}

fn refusal(path: &str, foreign: &Foreign) -> String {
    let marker = OwnFile::Marker.name();
    let why = match foreign {
        Foreign::NotAFolder => "isn't a folder".to_owned(),
        Foreign::Unmarked => format!("has neither a file {marker} nor a hosts.toml of ours, so somebody else made it"),
        Foreign::LaterFormat(format) => {
            format!("was written by a later version of this agent (format {format})")
        }
        Foreign::Unreadable(why) => format!("can't be looked into ({why})"),
    };
    match foreign {
        Foreign::LaterFormat(_) => {
            format!("{path} on the node {why}; run that version, or its uninstall, there")
        }
        _ => format!(
            "{path} on the node {why}, and is left alone; move it away there, or take the name out of the registry"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(host: &str) -> WantedFolder {
        WantedFolder {
            host: host.parse().unwrap(),
            owner: Owner { namespace: "packages".into(), name: "main".into() },
            ca_bundle: "CA".into(),
            hosts_toml: Some("server".into()),
        }
    }

    fn right(wanted: &WantedFolder) -> OwnFolder {
        OwnFolder {
            files: wanted.files().into_iter().map(|(file, content)| (file, Some(content))).collect(),
            ..OwnFolder::default()
        }
    }

    fn observed(name: &str, folder: ObservedFolder) -> Observed {
        Observed { folders: BTreeMap::from([(name.to_owned(), folder)]), ..Observed::default() }
    }

    fn published(plan: &Plan) -> Vec<OwnFile> {
        let actions = plan.steps.iter().flat_map(|steps| &steps.actions);
        actions
            .filter_map(|action| if let Action::Publish { file, .. } = action { Some(*file) } else { None })
            .collect()
    }

    #[test]
    fn what_is_right_is_left_alone() {
        let folder = wanted("a.io");
        let observed = observed("a.io", ObservedFolder::Own(right(&folder)));
        assert_eq!(plan(&[folder], &observed, "/c"), Plan::default());
    }

    #[test]
    fn a_new_folder_gets_its_marker_its_ca_and_then_hosts_toml_before_it_has_its_name() {
        for before in [Observed::default(), observed("a.io", ObservedFolder::Empty)] {
            let plan = plan(&[wanted("a.io")], &before, "/c");
            assert_eq!(published(&plan), [OwnFile::Marker, OwnFile::Ca, OwnFile::HostsToml]);
            let last = plan.steps[0].actions.last().unwrap();
            assert_eq!(last, &Action::MoveFolder { from: ".package-registry-new.a.io".into(), to: "a.io".into() });
        }
    }

    #[test]
    fn only_what_drifted_is_written() {
        let folder = wanted("a.io");
        let mut own = right(&folder);
        own.files.insert(OwnFile::Ca, None);
        let plan = plan(&[folder], &observed("a.io", ObservedFolder::Own(own)), "/c");
        assert_eq!(published(&plan), [OwnFile::Ca]);
    }

    #[test]
    fn a_changed_entry_gets_its_ca_before_its_hosts_toml() {
        let mut own = right(&wanted("a.io"));
        own.files.insert(OwnFile::Ca, Some(b"old".to_vec()));
        own.files.insert(OwnFile::HostsToml, Some(b"old".to_vec()));
        let plan = plan(&[wanted("a.io")], &observed("a.io", ObservedFolder::Own(own)), "/c");
        assert_eq!(published(&plan), [OwnFile::Ca, OwnFile::HostsToml]);
    }

    #[test]
    fn what_is_not_listed_goes_hosts_toml_first_and_folder_last() {
        let own = right(&wanted("a.io"));
        let plan = plan(&[], &observed("a.io", ObservedFolder::Own(own)), "/c");
        let removed = ".package-registry-removed.a.io";
        assert_eq!(
            plan.steps[0].actions,
            [
                remove_file("a.io", "hosts.toml"),
                remove_file("a.io", "ca.crt"),
                Action::MoveFolder { from: "a.io".into(), to: removed.into() },
                remove_file(removed, ".package-registry"),
                Action::RemoveFolder { folder: removed.into() },
            ]
        );
    }

    #[test]
    fn a_folder_with_files_of_somebody_else_loses_ours_and_stays() {
        let own = OwnFolder { has_others: true, ..right(&wanted("a.io")) };
        let plan = plan(&[], &observed("a.io", ObservedFolder::Own(own)), "/c");
        assert_eq!(plan.steps[0].actions.last().unwrap(), &remove_file("a.io", ".package-registry"));
    }

    #[test]
    fn what_somebody_else_owns_is_named_and_not_touched() {
        for foreign in
            [Foreign::NotAFolder, Foreign::Unmarked, Foreign::LaterFormat(2), Foreign::Unreadable("denied".into())]
        {
            let plan =
                plan(&[wanted("a.io")], &observed("a.io", ObservedFolder::Foreign(foreign)), "/etc/containerd/certs.d");
            assert_eq!(plan.steps, []);
            assert_eq!(plan.problems[0].reason, Reason::NameTaken);
            assert!(
                plan.problems[0].message.starts_with("/etc/containerd/certs.d/a.io on the node"),
                "{}",
                plan.problems[0].message
            );
        }
    }

    #[test]
    fn a_folder_that_containerd_would_prefer_is_reported() {
        let plan = plan(&[wanted("a.io:5000")], &observed("a.io_5000_", ObservedFolder::Empty), "/c");
        assert!(plan.problems[0].message.starts_with("/c/a.io_5000_"), "{}", plan.problems[0].message);
    }

    #[test]
    fn an_unlisted_folder_of_somebody_else_or_an_empty_one_is_no_business_of_ours() {
        for folder in [ObservedFolder::Empty, ObservedFolder::Foreign(Foreign::Unmarked)] {
            assert_eq!(plan(&[], &observed("a.io", folder), "/c"), Plan::default());
        }
    }
}
