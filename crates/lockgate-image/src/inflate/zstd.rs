//! Frames of zstd one after the other (RFC 8878), those to skip skipped, checksums checked.

use std::io::{self, BufRead, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::TooLarge;

/// Decompresses all frames of a stream.
pub(super) struct Reader<R> {
    input: R,
    decoder: FrameDecoder,
    /// A frame has begun and its checksum was not compared yet.
    open: bool,
}

impl<R: BufRead> Reader<R> {
    /// Refuses frames whose window is larger than `window_max` bytes.
    pub(super) fn new(input: R, window_max: u64) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(window_max);
        Self {
            input,
            decoder,
            open: false,
        }
    }

    /// Begins the next frame; `false` at the end of the stream.
    fn next_frame(&mut self) -> io::Result<bool> {
        loop {
            if self.input.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.reset(&mut self.input) {
                Ok(()) => {
                    self.open = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => self.skip(u64::from(length))?,
                Err(error) => return Err(into_io(error)),
            }
        }
    }

    fn skip(&mut self, length: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.input.by_ref().take(length), &mut io::sink())?;
        if skipped == length {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    fn end_frame(&mut self) -> io::Result<()> {
        self.open = false;
        let announced = self.decoder.get_checksum_from_data();
        if announced.is_some() && announced != self.decoder.get_calculated_checksum() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the checksum of a frame is wrong",
            ));
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if self.open && self.decoder.is_finished() {
                self.end_frame()?;
            }
            if self.open {
                self.decoder
                    .decode_blocks(&mut self.input, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(into_io)?;
            } else if !self.next_frame()? {
                return Ok(0);
            }
        }
    }
}

fn into_io(error: FrameDecoderError) -> io::Error {
    match error {
        FrameDecoderError::WindowSizeTooBig { max, .. } => TooLarge::Window { max }.into(),
        error => io::Error::new(io::ErrorKind::InvalidData, error),
    }
}
