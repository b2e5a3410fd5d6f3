//! Whether containerd's configuration makes it read our folder.
//!
//! containerd's rules, by the `version` of the file: 1 has the section `plugins.cri.registry`, 2
//! `plugins."io.containerd.grpc.v1.cri".registry`, later ones `plugins."io.containerd.cri.v1.images".registry`. Its
//! `config_path` names the folder. Unset means that no folder is read, until containerd 2.2 gave it a default.
//!
//! A list of folders, separated by colons, is read only where the CRI plugin pulls images itself, as it did up to 2.0. Since
//! 2.1 it asks containerd's transfer service to, and hands it the whole text as the name of one folder, which then isn't
//! there: no folder is read, and nothing says so (containerd's issues 12415, 12636 and 12808). The default of 2.2 is such a
//! list. A file of version 2 doesn't tell which containerd reads it, so a list is taken there.

use std::path::Path;

use snafu::Snafu;
use toml::{Table, Value};

/// `config_path` of containerd from 2.2 on when no file sets it: a list, so it helps only where the CRI plugin pulls images
/// itself. Files of version 4, which no earlier containerd takes, tell by themselves that it holds.
pub const DEFAULT_SINCE_2_2: &str = "/etc/containerd/certs.d:/etc/docker/certs.d";

const SECTIONS: [&str; 3] = ["cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"];

/// One of the files that containerd reads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigFile {
    /// Its path on the node.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// What the runtime has to do with our folder.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The trust folder's path on the node.
    pub trust_dir: &'a str,
    /// The main file's path on the node.
    pub main_file: &'a str,
    /// What this runtime's `config_path` is when nothing sets it, where that is known from elsewhere.
    pub default_config_path: Option<&'a str>,
}

/// Why the runtime doesn't read the folder. Each says what to change.
#[derive(Debug, Eq, PartialEq, Snafu)]
pub enum Unfit {
    /// A file isn't TOML, or its version isn't a number.
    #[snafu(display("{path} on the node can't be read as containerd's configuration: {why}"))]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing sets `config_path`, or to nothing.
    #[snafu(display(
        "containerd doesn't read {trust_dir}: config_path isn't set{hint}. In {path} on the node, section \
         [plugins.{section}.registry], set config_path = \"{trust_dir}\" and restart containerd (before 2.2 it has no default, \
         and that of later ones is a list of folders, which their transfer service doesn't understand)"
    ))]
    Unset {
        /// The trust folder.
        trust_dir: String,
        /// What may have been meant.
        hint: String,
        /// The file to change.
        path: String,
        /// The plugin's section, quoted where it takes that.
        section: String,
    },
    /// `config_path` names other folders.
    #[snafu(display(
        "containerd doesn't read {trust_dir}: config_path is \"{found}\" in {path} on the node. Give the operator that folder as \
         its trust folder; or move what is in it to {trust_dir}, set config_path to this one folder there and restart containerd"
    ))]
    Elsewhere {
        /// The trust folder.
        trust_dir: String,
        /// What it is.
        found: String,
        /// Where it says so.
        path: String,
    },
    /// `config_path` is a list that names the folder, and containerd takes all of it for one folder's name.
    #[snafu(display(
        "containerd doesn't read {trust_dir}: config_path is the list \"{found}\" in {path} on the node, and containerd from 2.1 \
         on takes that for the name of a single folder. Set config_path to this one folder, config_path = \"{trust_dir}\" (or \
         use_local_image_pull = true in the section [plugins.{section}]), and restart containerd"
    ))]
    List {
        /// The trust folder.
        trust_dir: String,
        /// What it is.
        found: String,
        /// Where it says so.
        path: String,
        /// The plugin's section, quoted where it takes that.
        section: String,
    },
    /// Settings that containerd takes only without `config_path`.
    #[snafu(display(
        "containerd refuses to start with {setting} beside config_path: remove {setting} from {path} on the node (a hosts.toml \
         under {trust_dir} says the same) and restart containerd"
    ))]
    OldStyle {
        /// `registry.mirrors` or `registry.configs.*.tls`.
        setting: &'static str,
        /// The file that has it.
        path: String,
        /// The trust folder.
        trust_dir: String,
    },
}

/// One file, parsed.
struct Parsed<'a> {
    path: &'a str,
    version: i64,
    table: Table,
}

/// Checks the files in the order that containerd reads them: the main one, then what it imports. `unread` are imports that
/// lie where the agent can't see them.
///
/// # Errors
/// When containerd doesn't read the trust folder, or wouldn't start.
pub fn check(files: &[ConfigFile], unread: &[String], expected: Expected<'_>) -> Result<(), Unfit> {
    let parsed = files.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let version = parsed.first().map_or(2, |file| file.version);
    let mut set: Option<(String, &str)> = None;
    let mut old_style = None;
    let mut pull = Pull::default();
    for file in &parsed {
        let Some(plugin) = plugin(&file.table, SECTIONS[section(file.version)]) else {
            continue;
        };
        let registry = plugin.get("registry").and_then(Value::as_table);
        // Up to version 2 a later file's section stands in for the whole of an earlier one; containerd 2 merges them.
        if version <= 2 {
            set = None;
            old_style = None;
            pull = Pull::default();
        }
        pull.read(plugin);
        let Some(registry) = registry else { continue };
        if let Some(path) = registry.get("config_path").and_then(Value::as_str) {
            set = Some((path.to_owned(), file.path));
        }
        old_style = old_style_setting(registry).map(|setting| (setting, file.path)).or(old_style);
    }
    let trust_dir = expected.trust_dir;
    let default = expected.default_config_path.or((version >= 4).then_some(DEFAULT_SINCE_2_2));
    let takes_lists = pull.is_local() || (version <= 2 && default.is_none());
    let section = quoted(SECTIONS[section(version)]);
    // What is set to nothing is switched off; the default stands in for what isn't set.
    let off = matches!(&set, Some((path, _)) if path.is_empty());
    match (set.filter(|_| !off), old_style) {
        (Some(_), Some((setting, path))) => OldStyleSnafu { setting, path, trust_dir }.fail(),
        (Some((found, path)), None) => match covers(&found, trust_dir, takes_lists) {
            Covers::Yes => Ok(()),
            Covers::AsList => ListSnafu { trust_dir, found, path, section }.fail(),
            Covers::No => ElsewhereSnafu { trust_dir, found, path }.fail(),
        },
        (None, _) if !off && default.is_some_and(|default| covers(default, trust_dir, takes_lists) == Covers::Yes) => {
            Ok(())
        }
        (None, _) => {
            let hint = hint(&parsed, unread);
            UnsetSnafu { trust_dir, hint, path: expected.main_file, section }.fail()
        }
    }
}

/// The paths that a file imports, as it spells them; none if it can't be parsed.
#[must_use]
pub fn imports(text: &str) -> Vec<String> {
    let table: Table = text.parse().unwrap_or_default();
    let imports = table.get("imports").and_then(Value::as_array).into_iter().flatten();
    imports.filter_map(Value::as_str).map(ToOwned::to_owned).collect()
}

fn parse(file: &ConfigFile) -> Result<Parsed<'_>, Unfit> {
    let path = file.path.as_str();
    let table: Table = file.text.parse().map_err(|error: toml::de::Error| {
        let why = error.message().to_owned();
        Unfit::Malformed { path: path.to_owned(), why }
    })?;
    let version = match table.get("version") {
        None => 1,
        Some(Value::Integer(version)) => *version,
        Some(_) => {
            return MalformedSnafu { path, why: "version isn't a whole number" }.fail();
        }
    };
    Ok(Parsed { path, version, table })
}

/// Index into [`SECTIONS`].
fn section(version: i64) -> usize {
    match version {
        ..=1 => 0,
        2 => 1,
        _ => 2,
    }
}

fn plugin<'a>(table: &'a Table, section: &str) -> Option<&'a Table> {
    table.get("plugins")?.as_table()?.get(section)?.as_table()
}

fn old_style_setting(registry: &Table) -> Option<&'static str> {
    if registry.get("mirrors").and_then(Value::as_table).is_some_and(|mirrors| !mirrors.is_empty()) {
        return Some("registry.mirrors");
    }
    let configs = registry.get("configs").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let mut tables = configs.filter_map(Value::as_table);
    tables.any(|config| config.contains_key("tls")).then_some("registry.configs.*.tls")
}

/// Settings with which the CRI plugin pulls images itself, from 2.1 on: by its own switch, or since the transfer service
/// can't do what they ask for.
#[derive(Clone, Copy, Debug, Default)]
struct Pull {
    switched: bool,
    discards_layers: bool,
    annotates_snapshots: bool,
}

impl Pull {
    /// Takes what a plugin's section sets. Up to version 2 the last two were in its section `containerd`.
    fn read(&mut self, plugin: &Table) {
        for table in [Some(plugin), plugin.get("containerd").and_then(Value::as_table)].into_iter().flatten() {
            let set = |name: &str| table.get(name).and_then(Value::as_bool);
            self.switched = set("use_local_image_pull").unwrap_or(self.switched);
            self.discards_layers = set("discard_unpacked_layers").unwrap_or(self.discards_layers);
            self.annotates_snapshots =
                set("disable_snapshot_annotations").map_or(self.annotates_snapshots, |disabled| !disabled);
        }
    }

    fn is_local(self) -> bool {
        self.switched || self.discards_layers || self.annotates_snapshots
    }
}

/// Whether a `config_path` names the trust folder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Covers {
    Yes,
    /// Only if it is read as a list, which it isn't.
    AsList,
    No,
}

fn covers(config_path: &str, trust_dir: &str, takes_lists: bool) -> Covers {
    let is_it = |dir: &str| !dir.is_empty() && Path::new(dir).components().eq(Path::new(trust_dir).components());
    if is_it(config_path) {
        Covers::Yes
    } else if !config_path.split(':').any(is_it) {
        Covers::No
    } else if takes_lists {
        Covers::Yes
    } else {
        Covers::AsList
    }
}

fn hint(files: &[Parsed<'_>], unread: &[String]) -> String {
    for file in files {
        let wrong = (0..SECTIONS.len()).filter(|&index| index != section(file.version));
        for name in wrong.map(|index| SECTIONS[index]) {
            let registry = plugin(&file.table, name).and_then(|plugin| plugin.get("registry"));
            if registry.is_some_and(|registry| registry.get("config_path").is_some()) {
                let (path, version) = (file.path, file.version);
                return format!(
                    " ({path} has it in [plugins.{}.registry], which version = {version} doesn't read)",
                    quoted(name)
                );
            }
        }
    }
    if files.is_empty() {
        return " (there is no such file)".to_owned();
    }
    match unread.first() {
        Some(path) => format!(" (unless in {path}, which the agent can't see)"),
        None => String::new(),
    }
}

fn quoted(section: &str) -> String {
    if section.contains('.') { format!("\"{section}\"") } else { section.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: Expected<'_> = Expected {
        trust_dir: "/etc/containerd/certs.d",
        main_file: "/etc/containerd/config.toml",
        default_config_path: None,
    };
    const V2: &str = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n";
    const V3: &str = "version = 3\n[plugins.\"io.containerd.cri.v1.images\".registry]\n";
    const SET: &str = "config_path = \"/etc/containerd/certs.d\"\n";

    fn file(path: &str, text: &str) -> ConfigFile {
        ConfigFile { path: path.into(), text: text.into() }
    }

    fn check_one(text: &str) -> Result<(), Unfit> {
        check(&[file("/etc/containerd/config.toml", text)], &[], EXPECTED)
    }

    fn fix(result: Result<(), Unfit>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn each_version_sets_it_in_its_own_section() {
        assert_eq!(check_one(&format!("{V2}{SET}")), Ok(()));
        assert_eq!(check_one(&format!("{V3}{SET}")), Ok(()));
        assert_eq!(check_one(&format!("[plugins.cri.registry]\n{SET}")), Ok(()));
    }

    #[test]
    fn the_folder_may_be_one_of_several_and_end_in_a_slash() {
        assert_eq!(check_one(&format!("{V2}config_path = \"/etc/docker/certs.d:/etc/containerd/certs.d/\"")), Ok(()));
        let message = fix(check_one(&format!("{V2}config_path = \"/etc/containerd/certs.d2:/x\"")));
        assert!(message.contains("config_path is \"/etc/containerd/certs.d2:/x\""), "{message}");
        assert!(!message.contains("/etc/containerd/certs.d:/"), "a list is no advice: {message}");
    }

    #[test]
    fn from_version_3_on_a_list_is_read_only_where_the_cri_plugin_pulls_images_itself() {
        let list = format!("config_path = \"{DEFAULT_SINCE_2_2}\"\n");
        let images = "[plugins.'io.containerd.cri.v1.images']\n";
        for version in [3, 4] {
            let with = |settings: &str| {
                format!(
                    "version = {version}\n{images}{settings}\n[plugins.'io.containerd.cri.v1.images'.registry]\n{list}"
                )
            };
            for settings in ["", "use_local_image_pull = false", "discard_unpacked_layers = false"] {
                let message = fix(check_one(&with(settings)));
                for part in ["Set config_path to this one folder, config_path = \"/etc/containerd/certs.d\"", "2.1"] {
                    assert!(message.contains(part), "{message}");
                }
            }
            for settings in [
                "use_local_image_pull = true",
                "discard_unpacked_layers = true",
                "disable_snapshot_annotations = false",
            ] {
                assert_eq!(check_one(&with(settings)), Ok(()), "{settings}");
            }
        }
        let single = format!("{V3}config_path = \"/etc/containerd/certs.d/\"");
        assert_eq!(check_one(&single), Ok(()));
    }

    #[test]
    fn a_list_in_a_file_of_version_2_is_read_before_2_1_and_not_by_nodes_that_are_said_to_be_later() {
        let list = file("/c", &format!("{V2}config_path = \"{DEFAULT_SINCE_2_2}\""));
        assert_eq!(check(std::slice::from_ref(&list), &[], EXPECTED), Ok(()));
        let told = Expected { default_config_path: Some(DEFAULT_SINCE_2_2), ..EXPECTED };
        assert!(matches!(check(&[list], &[], told), Err(Unfit::List { .. })));
    }

    #[test]
    fn unset_names_the_file_the_section_and_the_value() {
        for text in ["version = 2\n", V2, &format!("{V2}config_path = \"\"\n")] {
            let message = fix(check_one(text));
            for part in [
                "In /etc/containerd/config.toml on the node, section [plugins.\"io.containerd.grpc.v1.cri\".registry]",
                "config_path = \"/etc/containerd/certs.d\"",
                "before 2.2 it has no default",
            ] {
                assert!(message.contains(part), "{message}");
            }
        }
        assert!(fix(check_one("version = 3")).contains("[plugins.\"io.containerd.cri.v1.images\".registry]"));
    }

    #[test]
    fn a_section_that_the_files_version_does_not_read_is_pointed_out() {
        let message = fix(check_one(&format!("{}{SET}", V2.replace("version = 2", "version = 3"))));
        assert!(message.contains("which version = 3 doesn't read"), "{message}");
    }

    #[test]
    fn the_default_of_2_2_is_a_list_and_helps_only_where_the_cri_plugin_pulls_images_itself() {
        let local = "[plugins.'io.containerd.cri.v1.images']\nuse_local_image_pull = true\n";
        assert!(fix(check_one("version = 4")).contains("transfer service"));
        assert_eq!(check_one(&format!("version = 4\n{local}")), Ok(()));
        assert!(check_one(&format!("version = 3\n{local}")).is_err(), "2.0 and 2.1 have no default");
        assert!(fix(check(&[], &[], EXPECTED)).contains("there is no such file"));
        let told = Expected { default_config_path: Some(DEFAULT_SINCE_2_2), ..EXPECTED };
        assert!(fix(check(&[], &[], told)).contains("there is no such file"));
        let with = |text: &str| check(&[file("/c", text)], &[], told);
        assert_eq!(with(&format!("version = 3\n{local}")), Ok(()));
        assert!(with("version = 3").is_err());
        assert!(with(&format!("{V3}config_path = \"/x\"")).is_err());
    }

    #[test]
    fn what_is_set_to_nothing_is_off_and_not_the_default() {
        let off = "version = 4\n[plugins.'io.containerd.cri.v1.images']\nuse_local_image_pull = true\nregistry.config_path = ''";
        assert!(matches!(check_one(off), Err(Unfit::Unset { .. })));
        let told = Expected { default_config_path: Some("/etc/containerd/certs.d"), ..EXPECTED };
        assert_eq!(check(&[file("/c", "version = 3")], &[], told), Ok(()));
        assert!(check(&[file("/c", &format!("{V3}config_path = ''"))], &[], told).is_err());
    }

    #[test]
    fn imported_files_count() {
        let files = [
            file("/etc/containerd/config.toml", V3),
            file("/etc/containerd/conf.d/registry.toml", &format!("{V3}{SET}")),
        ];
        assert_eq!(check(&files, &[], EXPECTED), Ok(()));
        assert_eq!(imports("imports = [\"conf.d/*.toml\"]"), ["conf.d/*.toml"]);
        let message = fix(check(&files[..1], &["/opt/x.toml".into()], EXPECTED));
        assert!(message.contains("unless in /opt/x.toml"), "{message}");
    }

    #[test]
    fn up_to_version_2_an_imported_section_hides_the_earlier_one() {
        let main = file("/etc/containerd/config.toml", &format!("{V2}{SET}"));
        let import = file(
            "/etc/containerd/b.toml",
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\nenable_selinux = true",
        );
        assert!(check(&[main, import], &[], EXPECTED).is_err());
        let main = file("/etc/containerd/config.toml", &format!("{V3}{SET}"));
        let import = file(
            "/etc/containerd/b.toml",
            "version = 3\n[plugins.\"io.containerd.cri.v1.images\"]\nsnapshotter = \"native\"",
        );
        assert_eq!(check(&[main, import], &[], EXPECTED), Ok(()));
    }

    #[test]
    fn old_style_settings_beside_it_stop_containerd() {
        let mirrors =
            "[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"docker.io\"]\nendpoint = [\"https://m\"]\n";
        let tls = "[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"docker.io\".tls]\nca_file = \"/x\"\n";
        let auth = "[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"docker.io\".auth]\nusername = \"x\"\n";
        assert!(fix(check_one(&format!("{V2}{SET}{mirrors}"))).contains("registry.mirrors"));
        assert!(fix(check_one(&format!("{V2}{SET}{tls}"))).contains("registry.configs.*.tls"));
        assert_eq!(check_one(&format!("{V2}{SET}{auth}")), Ok(()));
        assert_eq!(check_one(&format!("{V2}{SET}[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors]\n")), Ok(()));
    }

    #[test]
    fn what_is_no_toml_is_named() {
        assert!(fix(check_one("version = ")).starts_with("/etc/containerd/config.toml on the node can't be read"));
        assert!(fix(check_one("version = \"2\"")).contains("version isn't a whole number"));
    }
}
