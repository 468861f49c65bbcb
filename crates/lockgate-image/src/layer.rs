//! Layers: packing entries into a compressed archive of the store, and opening one again.

use std::io::{self, BufReader, BufWriter, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use lockgate_model::Digest;
use sha2::{Digest as _, Sha256};

use crate::inflate::{Compression as Found, inflate};
use crate::oci::{self, Descriptor};
use crate::store::{BlobWriter, Store, StoreError, descriptor};
use crate::tar::{Header, TarWriter};

/// Number of everything that decides the bytes of a layer: order, header fields, compressor and
/// level. A new way of packing gets a new number; this one never changes.
pub const LAYER_FORMAT: u32 = 1;

/// Level 1 packs 100,000 files in two thirds of the time of level 6 for 1.7 times the bytes
/// (images.md §3.2); pushing is rarer than building.
const GZIP_LEVEL: u32 = 1;

/// A finished layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The compressed blob.
    pub descriptor: Descriptor,
    /// Digest of the archive before compression.
    pub diff_id: Digest,
}

/// Streams one layer into the store; memory does not depend on its size.
pub(crate) struct LayerWriter {
    tar: TarWriter<DiffWriter>,
}

struct DiffWriter {
    diff: Sha256,
    gzip: GzEncoder<BufWriter<BlobWriter>>,
}

impl DiffWriter {
    fn new(store: &Store) -> Result<Self, StoreError> {
        let out = BufWriter::with_capacity(256 * 1024, store.writer()?);
        Ok(Self {
            diff: Sha256::new(),
            // The header carries no time and no name.
            gzip: GzEncoder::new(out, Compression::new(GZIP_LEVEL)),
        })
    }

    fn finish(self) -> Result<Layer, StoreError> {
        let diff_id = Digest::from_bytes(self.diff.finalize().into());
        let blob = self
            .gzip
            .finish()?
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?
            .finish()?;
        Ok(Layer {
            descriptor: descriptor(blob, oci::LAYER_GZIP),
            diff_id,
        })
    }
}

impl Write for DiffWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.gzip.write_all(buffer)?;
        self.diff.update(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.gzip.flush()
    }
}

impl LayerWriter {
    pub(crate) fn new(store: &Store) -> Result<Self, StoreError> {
        Ok(Self {
            tar: TarWriter::new(DiffWriter::new(store)?),
        })
    }

    /// Adds one member; `content` yields exactly the size in the header.
    pub(crate) fn append(&mut self, header: &Header<'_>, content: &mut dyn Read) -> io::Result<()> {
        self.tar.append(header, content)
    }

    /// Completes the blob.
    pub(crate) fn finish(self) -> Result<Layer, StoreError> {
        self.tar.finish()?.finish()
    }
}

/// Makes a layer of a finished archive: compressed, or as it is when it is compressed already.
pub(crate) fn pack_archive(store: &Store, archive: &mut dyn Read) -> Result<Layer, StoreError> {
    let mut input = BufReader::with_capacity(256 * 1024, archive);
    let media_type = match Found::of(io::BufRead::fill_buf(&mut input)?) {
        Found::Gzip => oci::LAYER_GZIP,
        Found::Zstd => oci::LAYER_ZSTD,
        _ => {
            let mut out = DiffWriter::new(store)?;
            io::copy(&mut input, &mut out)?;
            return out.finish();
        }
    };
    let mut writer = store.writer()?;
    io::copy(&mut input, &mut writer)?;
    let descriptor = descriptor(writer.finish()?, media_type);
    let mut diff = Sha256::new();
    io::copy(&mut open_layer(store, &descriptor)?, &mut diff)?;
    Ok(Layer {
        descriptor,
        diff_id: Digest::from_bytes(diff.finalize().into()),
    })
}

/// Opens a layer for reading its archive, decompressed: by content, for media types lie. The blob's digest is checked when the
/// reader reaches its end.
pub(crate) fn open_layer(
    store: &Store,
    layer: &Descriptor,
) -> Result<Box<dyn Read + Send>, StoreError> {
    let blob = store.reader(&layer.digest)?;
    let size = blob.size()?;
    Ok(inflate(blob, size)?.1)
}
