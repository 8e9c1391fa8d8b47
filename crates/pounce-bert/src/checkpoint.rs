//! model.safetensors, read a few rows at a time: the file is never in memory as a whole.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::config::Unsupported;
use crate::error::OpenError;

/// Longest header; the format's own limit.
const HEADER_BYTES_MAX: u64 = 100_000_000;

/// Bytes read at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// An open file and what its header says.
pub(crate) struct Checkpoint {
    file: File,
    name: String,
    metadata: Metadata,
    /// Where the header ends.
    data: u64,
}

impl Checkpoint {
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let name = path.display().to_string();
        let fault = |reason: String| OpenError::File { file: name.clone(), reason };
        let mut file = File::open(path).map_err(|e| fault(e.to_string()))?;
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(|e| fault(e.to_string()))?;
        let length = u64::from_le_bytes(length);
        if length > HEADER_BYTES_MAX {
            return Err(fault(format!("its header of {length} bytes is longer than any")));
        }
        let mut header = Vec::new();
        (&file).take(length).read_to_end(&mut header).map_err(|e| fault(e.to_string()))?;
        // This also checks that each tensor has as many bytes as its shape needs.
        let metadata = serde_json::from_slice(&header).map_err(|e| fault(e.to_string()))?;
        Ok(Self { file, name, metadata, data: 8 + length })
    }

    /// A vector of `width` numbers.
    pub(crate) fn vector(&mut self, name: &str, width: usize) -> Result<Vec<f32>, OpenError> {
        let mut vector = Vec::with_capacity(width);
        self.read(name, &[width], width, |row| vector.extend_from_slice(row))?;
        Ok(vector)
    }

    /// Hands the rows of a matrix of `width` columns to `each`, in order; returns their number.
    pub(crate) fn rows(
        &mut self,
        name: &str,
        width: usize,
        each: impl FnMut(&[f32]),
    ) -> Result<usize, OpenError> {
        let rows = self.count(name)?;
        self.read(name, &[rows, width], width, each)?;
        Ok(rows)
    }

    /// Rows of a matrix.
    pub(crate) fn count(&self, name: &str) -> Result<usize, OpenError> {
        Ok(self.info(name)?.shape.first().copied().unwrap_or(0))
    }

    fn info(&self, name: &str) -> Result<TensorInfo, OpenError> {
        let info = self.metadata.info(name).cloned();
        info.ok_or_else(|| Unsupported::Tensor(name.to_owned()).into())
    }

    fn read(
        &mut self,
        name: &str,
        shape: &[usize],
        width: usize,
        mut each: impl FnMut(&[f32]),
    ) -> Result<(), OpenError> {
        let TensorInfo { dtype, shape: found, data_offsets: (start, end) } = self.info(name)?;
        let fault = |reason: String| OpenError::File { file: self.name.clone(), reason };
        if found != shape {
            let reason =
                format!("tensor `{name}` is {found:?} where config.json asks for {shape:?}");
            return Err(fault(reason));
        }
        let value = match dtype {
            Dtype::F32 => 4,
            Dtype::F16 | Dtype::BF16 => 2,
            other => {
                let (name, format) = (name.to_owned(), format!("{other:?}"));
                return Err(Unsupported::Format { name, format }.into());
            }
        };
        let io = |e: std::io::Error| fault(format!("tensor `{name}`: {e}"));
        self.file.seek(SeekFrom::Start(self.data + start as u64)).map_err(io)?;
        let rows_at_once = (CHUNK_BYTES / (width * value)).max(1);
        let mut bytes = vec![0; (rows_at_once * width * value).min(end - start)];
        let mut halves = Vec::new();
        let mut numbers = Vec::new();
        let mut left = end - start;
        while left > 0 {
            let bytes = &mut bytes[..left.min(rows_at_once * width * value)];
            self.file.read_exact(bytes).map_err(io)?;
            left -= bytes.len();
            numbers.resize(bytes.len() / value, 0.0);
            decode(dtype, bytes, &mut halves, &mut numbers);
            if !numbers.iter().all(|number| number.is_finite()) {
                return Err(fault(format!("tensor `{name}` holds a number that is not finite")));
            }
            numbers.chunks_exact(width).for_each(&mut each);
        }
        Ok(())
    }
}

/// Little-endian numbers of one of the three formats; `halves` is a buffer to reuse.
fn decode(dtype: Dtype, bytes: &[u8], halves: &mut Vec<u16>, numbers: &mut [f32]) {
    if dtype == Dtype::F32 {
        let (values, _) = bytes.as_chunks();
        for (number, bytes) in numbers.iter_mut().zip(values) {
            *number = f32::from_le_bytes(*bytes);
        }
        return;
    }
    let (values, _) = bytes.as_chunks();
    halves.clear();
    halves.extend(values.iter().map(|bytes| u16::from_le_bytes(*bytes)));
    if dtype == Dtype::F16 {
        halves.reinterpret_cast::<f16>().convert_to_f32_slice(numbers);
    } else {
        halves.reinterpret_cast::<bf16>().convert_to_f32_slice(numbers);
    }
}
