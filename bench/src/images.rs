//! Images of noise, written as an OCI layout: what a compressor can do nothing for, in layers that are good gzip all the same.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use e2e::image::Hashing;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use snafu::{ResultExt as _, Whatever};

/// A layer: which noise, and how many bytes of it. Layers of one seed and size are the same layer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Layer {
    /// Start of the noise.
    pub seed: u64,
    /// Bytes.
    pub size: u64,
}

/// An image.
#[derive(Clone, Debug)]
pub struct Image {
    /// `name:tag`, without a host.
    pub name: String,
    /// Its layers.
    pub layers: Vec<Layer>,
}

/// Writes the layout of all `images` to `folder`.
///
/// # Errors
/// When a file can't be written.
pub fn write_layout(folder: &Path, images: &[Image]) -> Result<(), Whatever> {
    write(folder, images).whatever_context(format!("cannot write images to {}", folder.display()))
}

fn write(folder: &Path, images: &[Image]) -> io::Result<()> {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let mut written: Vec<(Layer, (Value, String))> = Vec::new();
    let mut manifests = Vec::new();
    for image in images {
        let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
        for layer in &image.layers {
            let known = written.iter().find(|(other, _)| other == layer).map(|(_, known)| known.clone());
            let (descriptor, diff_id) = if let Some(known) = known {
                known
            } else {
                let made = write_layer(&blobs, *layer)?;
                written.push((*layer, made.clone()));
                made
            };
            layers.push(descriptor);
            diff_ids.push(diff_id);
        }
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {"Labels": {"name": image.name}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = write_document(&blobs, "application/vnd.oci.image.config.v1+json", &config)?;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": layers,
        });
        let mut manifest = write_document(&blobs, "application/vnd.oci.image.manifest.v1+json", &manifest)?;
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": image.name});
        manifests.push(manifest);
    }
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests,
    });
    fs::write(folder.join("index.json"), index.to_string())?;
    fs::write(folder.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())
}

fn write_document(blobs: &Path, media_type: &str, document: &Value) -> io::Result<Value> {
    let text = document.to_string();
    let digest = HEXLOWER.encode(&Sha256::digest(&text));
    fs::write(blobs.join(&digest), &text)?;
    Ok(json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": text.len()}))
}

/// Writes a layer; its descriptor, and the digest of the archive in it.
fn write_layer(blobs: &Path, layer: Layer) -> io::Result<(Value, String)> {
    let unnamed: PathBuf = blobs.join("layer");
    let packed = Hashing::new(BufWriter::with_capacity(1 << 20, File::create(&unnamed)?));
    let mut archive = tar::Builder::new(Hashing::new(GzEncoder::new(packed, Compression::none())));
    let mut header = tar::Header::new_gnu();
    header.set_size(layer.size);
    header.set_mode(0o644);
    header.set_cksum();
    archive.append_data(&mut header, format!("noise-{}", layer.seed), Noise(layer.seed).take(layer.size))?;
    let (gzip, diff_id, _) = archive.into_inner()?.end();
    let (mut file, digest, size) = gzip.finish()?.end();
    file.flush()?;
    fs::rename(unnamed, blobs.join(&digest))?;
    let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
    let descriptor = json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size});
    Ok((descriptor, format!("sha256:{diff_id}")))
}

/// Bytes without end that look like none of each other: `SplitMix64`.
pub struct Noise(pub u64);

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for piece in buffer.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.0;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
            piece.copy_from_slice(&mixed.to_le_bytes()[..piece.len()]);
        }
        Ok(buffer.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_share_the_layers_of_one_seed_and_every_blob_has_the_digest_that_it_is_named_by() {
        let folder = tempfile::tempdir().unwrap();
        let layer = |seed| Layer { seed, size: 10_001 };
        let image = |name: &str, layers| Image { name: name.into(), layers };
        write_layout(folder.path(), &[image("a:1", vec![layer(1), layer(2)]), image("b:1", vec![layer(1)])]).unwrap();
        let blobs: Vec<_> = fs::read_dir(folder.path().join("blobs/sha256")).unwrap().map(Result::unwrap).collect();
        assert_eq!(blobs.len(), 2 + 2 + 2, "two layers, two configurations, two manifests");
        for blob in blobs {
            let digest = HEXLOWER.encode(&Sha256::digest(fs::read(blob.path()).unwrap()));
            assert_eq!(blob.file_name().to_str().unwrap(), digest);
        }
    }

    #[test]
    fn a_layer_unpacks_to_the_archive_of_its_diff_id() {
        let folder = tempfile::tempdir().unwrap();
        let (descriptor, diff_id) = write_layer(folder.path(), Layer { seed: 7, size: 70_000 }).unwrap();
        let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let packed = fs::read(folder.path().join(digest)).unwrap();
        assert_eq!(packed.len() as u64, descriptor["size"].as_u64().unwrap());
        let mut archive = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut archive).unwrap();
        assert_eq!(format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(&archive))), diff_id);
    }
}
