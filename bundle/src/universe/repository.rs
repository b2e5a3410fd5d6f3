//! Packages as a repository document shows them.

use super::addresses::{rewrite_files, rewrite_images};
use super::schema::entry_path;
use super::{DcosVersion, Metadata, MetadataError};
use crate::json::Json;
use crate::model::Image;
use crate::reference::Reference;

/// Version of a repository document.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum RepositoryVersion {
    /// Packages 2.0 and 3.0; 4.0 ones are converted.
    V3,
    /// Packages up to 4.0.
    V4,
    /// Packages up to 5.0.
    V5,
}

/// What addresses in a repository document start with.
#[derive(Clone, Copy, Debug)]
pub struct Addresses<'a> {
    /// Scheme and authority, no slash at the end: `https://registry.test`. Files get `/resource/<coordinate code>/sha256:<hex>/<name>`.
    pub origin: &'a str,
    /// Host with port where it is not 443, for image names: `registry.test:8443`.
    pub image_host: &'a str,
    /// The package's images, for their digests.
    pub images: &'a [Image],
}

/// The package in its v5 form: the metadata with `releaseVersion`, without `command`, an empty `container` dropped, and
/// with every file of the bundle and every image under the registry's own address. Nothing else is touched.
///
/// # Errors
/// [`MetadataError`] when the metadata is not valid.
pub fn repository_package(
    metadata: &[u8],
    release_version: u64,
    addresses: &Addresses<'_>,
) -> Result<Json, MetadataError> {
    let Metadata { coordinate, document: mut package, .. } = Metadata::parse(metadata)?;
    package.set("releaseVersion", Json::Number(release_version.to_string()));
    package.remove("command");
    let assets = package.get_mut("resource").and_then(|resource| resource.get_mut("assets"));
    // The consumer can't read a container without docker.
    if let Some(assets) = assets
        && assets.get("container").is_some_and(|container| container.get("docker").is_none())
    {
        assets.remove("container");
    }
    let code = coordinate.code();
    rewrite_files(&mut package, &mut |address| match entry_path(address) {
        Some((hex, name)) => format!("{}/resource/{code}/sha256:{hex}/{name}", addresses.origin),
        None => address.to_owned(),
    });
    rewrite_images(&mut package, &mut |alias, reference| {
        let image = addresses.images.iter().find(|image| image.alias == alias);
        let parsed = Reference::parse(reference).ok();
        match (image, parsed) {
            (Some(image), Some(parsed)) => parsed.served_name(addresses.image_host, &image.target.digest),
            _ => reference.to_owned(),
        }
    });
    Ok(package)
}

/// How a package (as [`repository_package`] made it) is changed for older clusters.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Shape {
    /// 4.0 becomes 3.0.
    pub converted: bool,
    /// Quotes in the options' texts get a backslash.
    pub escaped: bool,
}

impl Shape {
    /// What a repository version needs and, where the asking cluster named it, its DC/OS version.
    #[must_use]
    pub fn of(version: RepositoryVersion, cluster: Option<&DcosVersion>) -> Self {
        let escaped = cluster.is_some_and(|cluster| *cluster < DcosVersion::of(&[1, 10]));
        Self { converted: version == RepositoryVersion::V3, escaped }
    }

    /// The package in this shape.
    #[must_use]
    pub fn apply(self, package: &Json) -> Json {
        let mut shown = match package.get("packagingVersion").and_then(Json::as_str) {
            Some("4.0") if self.converted => converted_to_3(package),
            _ => package.clone(),
        };
        if self.escaped
            && let Some(properties) = shown.get_mut("config").and_then(|c| c.get_mut("properties"))
        {
            escape_quotes(properties);
        }
        shown
    }
}

/// The lowest DC/OS version that a package is for.
#[must_use]
pub fn needed_version(package: &Json) -> Option<DcosVersion> {
    package.get("minDcosReleaseVersion").and_then(Json::as_str).and_then(DcosVersion::parse)
}

fn converted_to_3(package: &Json) -> Json {
    let mut package = package.clone();
    package.remove("upgradesFrom");
    package.remove("downgradesTo");
    package.set("packagingVersion", Json::String("3.0".to_owned()));
    package
}

/// Before DC/OS 1.10 a quote in `description` or `default` needs a backslash.
fn escape_quotes(properties: &mut Json) {
    for (key, value) in properties.entries_mut() {
        match value {
            Json::String(text) if matches!(key.as_str(), "description" | "default") => *text = escaped(text),
            nested => escape_quotes(nested),
        }
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '"' && !out.ends_with('\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Descriptor;

    const HEX: &str = "4e6e4e6e4e6e4e6e4e6e4e6e4e6e4e6e4e6e4e6e4e6e4e6e4e6e4e6e4e6e4e6e";

    fn metadata(packaging_version: &str) -> String {
        format!(
            r#"{{"packagingVersion":"{packaging_version}","name":"tiny","version":"1.0","maintainer":"m","description":"d","tags":[],
            "minDcosReleaseVersion":"1.9","upgradesFrom":["*"],"downgradesTo":[],"config":{{"properties":{{"a":{{"description":"say \"x\" \\\"","default":1.0}}}}}},
            "resource":{{"assets":{{"uris":{{"jre":"resources/{HEX}/jre.tar.gz","ext":"https://e.test/x?a=b","none":""}},"container":{{"docker":{{"main":"redis:5"}}}}}},
            "images":{{"screenshots":["resources/{HEX}/s.png"]}}}}}}"#
        )
    }

    fn package(metadata: &str) -> Json {
        let target = Descriptor { media_type: "m".into(), digest: format!("sha256:{HEX}"), size: 1 };
        let image = Image {
            alias: "main".into(),
            reference: "redis:5".into(),
            repository: "docker.io/library/redis".into(),
            tag: Some("5".into()),
            target,
            manifests: vec![],
            blobs: vec![],
            platforms: vec![],
            attachments: vec![],
        };
        let addresses = Addresses { origin: "https://r.test", image_host: "r.test", images: &[image] };
        repository_package(metadata.as_bytes(), 7, &addresses).unwrap()
    }

    #[test]
    fn files_and_images_of_the_bundle_get_the_registrys_address_and_nothing_else_changes() {
        let package = package(&metadata("4.0"));
        let code = crate::coordinate::Coordinate { name: "tiny".into(), version: "1.0".into() }.code();
        let text = package.to_string();
        assert!(text.contains(&format!(r#""jre":"https://r.test/resource/{code}/sha256:{HEX}/jre.tar.gz","ext":"https://e.test/x?a=b","none":"""#)), "{text}");
        assert!(text.contains(&format!(r#""main":"r.test/docker.io/library/redis:5@sha256:{HEX}""#)), "{text}");
        assert!(text.contains(&format!(r#"["https://r.test/resource/{code}/sha256:{HEX}/s.png"]"#)), "{text}");
        assert!(text.contains(r#""default":1.0"#) && text.ends_with(r#""releaseVersion":7}"#), "{text}");
    }

    #[test]
    fn an_empty_container_and_a_command_are_dropped() {
        let metadata = r#"{"packagingVersion":"3.0","name":"tiny","version":"1.0","maintainer":"m","description":"d","tags":[],
            "command":{"pip":["x"]},"resource":{"assets":{"container":{}}}}"#;
        let package = package(metadata);
        assert_eq!(package.get("command"), None);
        assert_eq!(package.at(&["resource", "assets"]), Some(&Json::Object(vec![])));
    }

    #[test]
    fn for_the_oldest_repository_version_packages_are_converted() {
        let four = package(&metadata("4.0"));
        assert_eq!(Shape::of(RepositoryVersion::V4, None).apply(&four), four);
        let three = Shape::of(RepositoryVersion::V3, None).apply(&four);
        assert_eq!(three.get("packagingVersion").and_then(Json::as_str), Some("3.0"));
        assert!(three.get("upgradesFrom").is_none() && three.get("downgradesTo").is_none());
    }

    #[test]
    fn for_an_old_cluster_quotes_in_texts_are_escaped() {
        let four = package(&metadata("4.0"));
        assert_eq!(needed_version(&four), DcosVersion::parse("1.9"));
        let shape = |version| Shape::of(RepositoryVersion::V5, DcosVersion::parse(version).as_ref());
        let description = |package: &Json| package.at(&["config", "properties", "a", "description"]).cloned();
        let shown = shape("1.9.4").apply(&four);
        assert_eq!(description(&shown), Some(Json::String(r#"say \"x\" \""#.into())));
        assert_eq!(shape("1.10").apply(&four), four);
    }
}
