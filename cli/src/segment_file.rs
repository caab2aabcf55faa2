//! A segment's file, read batch after batch: a file of any size in the memory of one batch.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use kfs_core::format::{
    BATCH_HEADER_LEN, Batch, BatchHeader, CrcCheck, FOOTER_LEN, HEADER_LEN, Malformed, SegmentFooter, SegmentHeader,
    crc32c_append,
};
use kfs_core::{Error, ErrorKind};

use crate::failure;

/// A segment that is being read.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    path: PathBuf,
    file: BufReader<File>,
    size: u64,
    header: SegmentHeader,
    /// Where the footer starts.
    end: u64,
    position: u64,
    crc: u32,
    next_offset: i64,
    /// The last offset of the batch read last, of one that overlaps too.
    last_offset: i64,
    /// Records that the batches' headers promise; and whether batches overlapped, which KafScale may
    /// count or not.
    records: i64,
    overlaps: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    /// A batch was skipped: the body's CRC says nothing any more.
    Damaged,
    Ended,
}

impl SegmentFile {
    /// Opens a file and reads its header.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let unreadable = |error| failure::file(path, error);
        let mut file = BufReader::with_capacity(256 << 10, open(path)?);
        let size = file.get_ref().metadata().map_err(unreadable)?.len();
        let mut bytes = Vec::new();
        file.by_ref().take(HEADER_LEN as u64).read_to_end(&mut bytes).map_err(unreadable)?;
        let header = SegmentHeader::parse(&bytes).map_err(|e| e.into_error(&path.display().to_string()))?;
        let end = size.saturating_sub(FOOTER_LEN as u64).max(HEADER_LEN as u64);
        Ok(SegmentFile {
            path: path.to_owned(),
            file,
            size,
            header,
            end,
            position: HEADER_LEN as u64,
            crc: 0,
            next_offset: header.base_offset,
            last_offset: -1,
            records: 0,
            overlaps: false,
            state: State::Reading,
        })
    }

    pub(crate) fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// Bytes of the file.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// When the file was written last, where the system tells.
    pub(crate) fn modified(&self) -> Option<std::time::SystemTime> {
        self.file.get_ref().metadata().ok()?.modified().ok()
    }

    /// One past the last offset, as the footer has it: nothing protects that.
    pub(crate) fn claimed_end(&mut self) -> Result<i64, Error> {
        self.seek(self.end)?;
        let footer = self.footer();
        self.seek(self.position)?;
        Ok(footer?.last_offset.saturating_add(1))
    }

    fn seek(&mut self, position: u64) -> Result<(), Error> {
        self.file.seek(SeekFrom::Start(position)).map(drop).map_err(|error| failure::file(&self.path, error))
    }

    /// The error for records, of the batch that was given last, that can't be decoded.
    pub(crate) fn undecodable(&self, batch: &Batch, malformed: Malformed) -> Error {
        let start = self.position.saturating_sub(batch.bytes().len() as u64);
        let next = batch.next_offset();
        let error = self.malformed(malformed, start).with_offsets(batch.base_offset(), batch.last_offset());
        let error = error.with_next_readable(next);
        if error.kind() != ErrorKind::Corrupt {
            return error;
        }
        error.with_hint(format!(
            "the batch was stored as it was given, and nothing can repair it: read on with --from {next}, or --skip-corrupt"
        ))
    }

    fn malformed(&self, malformed: Malformed, position: u64) -> Error {
        malformed.offset_position(position).into_error(&self.path.display().to_string())
    }

    fn corrupt(&self, position: u64, what: String) -> Error {
        Error::new(ErrorKind::Corrupt, what).with_key(self.path.display().to_string()).at(position)
    }

    fn read(&mut self, len: u64) -> Result<Vec<u8>, Error> {
        // Grows with what is there, not by a length that a file claims.
        let mut bytes = Vec::new();
        self.file.by_ref().take(len).read_to_end(&mut bytes).map_err(|error| failure::file(&self.path, error))?;
        Ok(bytes)
    }

    /// The next batch; at the end, body CRC and footer are compared. A batch below its
    /// predecessor's end is passed over, as readers of a log do (format.md).
    ///
    /// After an error the next call goes on after the batch if its end can be found, else it ends.
    pub(crate) fn next(&mut self) -> Result<Option<Batch>, Error> {
        while self.state != State::Ended && self.position < self.end {
            let at = self.position;
            let batch = match self.batch() {
                Ok(batch) => batch,
                Err(error) => {
                    self.state = if self.position > at { State::Damaged } else { State::Ended };
                    return Err(error);
                }
            };
            self.last_offset = batch.last_offset();
            self.records = self.records.saturating_add(i64::from(batch.header().record_count));
            if batch.base_offset() >= self.next_offset {
                self.next_offset = batch.next_offset();
                return Ok(Some(batch));
            }
            self.overlaps = true;
        }
        if self.state == State::Reading {
            self.state = State::Ended;
            self.check_count()?;
            self.check_footer()?;
        }
        Ok(None)
    }

    fn batch(&mut self) -> Result<Batch, Error> {
        let at = self.position;
        let mut bytes = self.read((BATCH_HEADER_LEN as u64).min(self.end.saturating_sub(at)))?;
        let header = BatchHeader::parse(&bytes).map_err(|e| self.malformed(e, at))?;
        let len = header.total_len() as u64;
        if len > self.end.saturating_sub(at) {
            let what = format!("found a batch of {len} bytes, expected at most {}", self.end.saturating_sub(at));
            return Err(self.corrupt(at.saturating_add(8), what));
        }
        let mut rest = self.read(len.saturating_sub(bytes.len() as u64))?;
        bytes.append(&mut rest);
        self.crc = crc32c_append(self.crc, &bytes);
        self.position = at.saturating_add(len);
        if at == HEADER_LEN as u64 && header.base_offset != self.header.base_offset {
            let what = format!("found base offset {}, expected the segment's {}", header.base_offset, self.next_offset);
            return Err(self.corrupt(at, what));
        }
        let batch = Batch::parse(&Bytes::from(bytes), 0, CrcCheck::Verify);
        batch.map_err(|e| {
            let next = header.next_offset();
            self.malformed(e, at).with_offsets(header.base_offset, header.last_offset()).with_next_readable(next)
        })
    }

    fn footer(&mut self) -> Result<SegmentFooter, Error> {
        let bytes = self.read(FOOTER_LEN as u64)?;
        SegmentFooter::parse(&bytes).map_err(|e| self.malformed(e, self.end))
    }

    fn check_count(&self) -> Result<(), Error> {
        let count = i64::from(self.header.message_count);
        if self.position > HEADER_LEN as u64 && (count == self.records || (self.overlaps && count < self.records)) {
            return Ok(());
        }
        Err(self.corrupt(16, format!("found a message count of {count}, expected {}", self.records)))
    }

    fn check_footer(&mut self) -> Result<(), Error> {
        let footer = self.footer()?;
        if footer.crc != self.crc {
            let what = format!("found body CRC {:08x}, expected {:08x}, which the body has", footer.crc, self.crc);
            return Err(self.corrupt(self.end, what));
        }
        // Where batches overlap, the footer has the last one's end, or the end of all.
        if footer.last_offset != self.last_offset && footer.last_offset.saturating_add(1) != self.next_offset {
            let what = format!("found last offset {}, expected {}", footer.last_offset, self.last_offset);
            return Err(self.corrupt(self.end.saturating_add(4), what));
        }
        Ok(())
    }
}

/// Reads a file whole: a segment or what stands beside one.
pub(crate) fn read(path: &Path) -> Result<Bytes, Error> {
    let (mut file, size) = open_small(path)?;
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    file.read_to_end(&mut bytes).map_err(|error| failure::file(path, error))?;
    Ok(bytes.into())
}

/// Opens a file that is no larger than a segment, and tells its size in bytes.
pub(crate) fn open_small(path: &Path) -> Result<(File, u64), Error> {
    let file = open(path)?;
    let size = file.metadata().map_err(|error| failure::file(path, error))?.len();
    if size > i32::MAX as u64 {
        return Err(Error::new(ErrorKind::InvalidInput, format!("{} has 2 GiB or more", path.display()))
            .with_hint("a segment is smaller"));
    }
    Ok((file, size))
}

/// Opens a regular file. To open anything else may wait for ever.
fn open(path: &Path) -> Result<File, Error> {
    let name = path.display();
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::new(ErrorKind::NotFound, format!("there is no file {name}")),
        _ => failure::file(path, error),
    })?;
    if !metadata.is_file() {
        let what = format!("{name} is {}, not a regular file", kind(metadata.file_type()));
        return Err(
            Error::new(ErrorKind::InvalidInput, what).with_hint("name a segment's file, or copy it to one first")
        );
    }
    File::open(path).map_err(|error| failure::file(path, error))
}

/// What a file is that is not a regular one.
fn kind(file: std::fs::FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if file.is_fifo() {
            return "a named pipe";
        }
        if file.is_socket() {
            return "a socket";
        }
        if file.is_char_device() || file.is_block_device() {
            return "a device";
        }
    }
    if file.is_dir() { "a directory" } else { "something else" }
}

#[cfg(test)]
mod tests;
