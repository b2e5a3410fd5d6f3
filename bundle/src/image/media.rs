//! Media types of images.

/// Whether a descriptor points to a list of manifests.
pub(crate) fn is_index(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.oci.image.index.v1+json" | "application/vnd.docker.distribution.manifest.list.v2+json"
    )
}

/// Whether a descriptor points to a manifest with a config and layers.
pub(crate) fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, MANIFEST | "application/vnd.docker.distribution.manifest.v2+json")
}

/// Whether a blob is an image's config, with platform and layers.
pub(crate) fn is_config(media_type: &str) -> bool {
    matches!(media_type, CONFIG | "application/vnd.docker.container.image.v1+json")
}

/// Whether a layer may be left where its `urls` say (base layers that may not be passed on).
pub(crate) fn is_foreign_layer(media_type: &str) -> bool {
    media_type == "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
        || media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
}

/// OCI manifest.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image config.
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// Media type of a layer that begins with these bytes.
pub(crate) const fn layer(magic: &[u8]) -> &'static str {
    match magic {
        [0x1f, 0x8b, ..] => "application/vnd.oci.image.layer.v1.tar+gzip",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "application/vnd.oci.image.layer.v1.tar+zstd",
        _ => LAYER,
    }
}

/// A layer as a plain tar archive.
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
