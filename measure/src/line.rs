//! Results as lines of JSON: one object for each kernel and product.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// The median of one kernel's times for one product, and what the machine would have done at best.
///
/// What was not measured is `null`: times of emulated devices and of wrong outputs, the
/// threads and the int8 ceiling of GPUs, that of CPUs for which none is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Year, month and day, in UTC.
    pub date: String,
    /// The machine's CPU.
    pub cpu: String,
    /// The library: `warpdot`, `candle` or `ggml`.
    #[serde(rename = "impl")]
    pub library: String,
    /// `cpu`, `cuda:0` and so on.
    #[serde(default = "cpu")]
    pub device: String,
    /// The library's name for the kernel.
    pub kernel: String,
    /// `fast` or `reproducible`.
    pub numerics: String,
    /// The format of the weights, by ggml's name.
    #[serde(rename = "type")]
    pub ty: String,
    /// Rows of X.
    pub m: usize,
    /// Rows of W.
    pub n: usize,
    /// Columns of both.
    pub k: usize,
    /// Threads of the CPU.
    pub threads: Option<usize>,
    /// Whether calls went round copies of the weights that exceed the caches.
    pub cold: bool,
    /// The median of a call, in milliseconds.
    pub ms: Option<f64>,
    /// Bytes of weights, in ggml's blocks, by that time: GB/s.
    pub gbps: Option<f64>,
    /// Two operations for each product, by that time: GOP/s.
    pub gops: Option<f64>,
    /// The GB/s at which the same threads read memory and do nothing else, or the same GPU reads the same weights.
    #[serde(default)]
    pub ceiling_gbps: Option<f64>,
    /// The GOP/s at which the same threads multiply int8 in registers and do nothing else.
    #[serde(default)]
    pub ceiling_gops: Option<f64>,
    /// The median of the time by that of the first kernel of the same round; above 1 where that one is quicker.
    #[serde(default)]
    pub ratio: Option<f64>,
    /// The share of all CPUs' time that other processes used meanwhile.
    #[serde(default)]
    pub others: Option<f64>,
    /// How many outputs were compared with an f64 product.
    #[serde(default)]
    pub checked: Option<usize>,
    /// The largest ratio of an output's error to its bound.
    #[serde(default)]
    pub error_over_bound: Option<f64>,
}

fn cpu() -> String {
    "cpu".into()
}

/// Why a file of lines cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such file, or no leave to read it.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A line that is no result.
    #[error(
        "{}, line {number}: {source}; expected an object with impl, kernel, numerics, type, m, n, k, threads, cold, ms, \
         gbps and gops, as `cargo xtask peers --json FILE` writes",
        path.display()
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        number: usize,
        /// The reason.
        source: serde_json::Error,
    },
}

impl Line {
    /// Sets the time, and the rates that follow from it; `bytes` are those of the weights.
    pub fn timed(self, seconds: f64, bytes: usize) -> Self {
        let operations = 2.0 * self.m as f64 * self.n as f64 * self.k as f64;
        Self {
            ms: Some(seconds * 1e3),
            gbps: Some(bytes as f64 / seconds / 1e9),
            gops: Some(operations / seconds / 1e9),
            ..self
        }
    }

    /// Takes back the time and what follows from it: for outputs that were wrong.
    pub fn untimed(self) -> Self {
        Self { ms: None, gbps: None, gops: None, ratio: None, ..self }
    }

    /// Operations for each byte of weights.
    pub fn intensity(&self) -> Option<f64> {
        Some(self.gops? / self.gbps?)
    }

    /// The GOP/s that the machine's ceilings allow for this product.
    pub fn roof(&self) -> Option<f64> {
        let by_memory = self.ceiling_gbps? * self.intensity()?;
        Some(self.ceiling_gops.map_or(by_memory, |by_arithmetic| by_memory.min(by_arithmetic)))
    }

    /// The share of [`roof`](Self::roof) that was reached.
    pub fn share_of_roof(&self) -> Option<f64> {
        Some(self.gops? / self.roof()?)
    }

    /// Reads a file of lines; empty ones, and the objects of `impl` `ceiling` in older files, are passed over.
    ///
    /// # Errors
    /// If the file cannot be read, or has a line that is no result.
    pub fn read(path: &Path) -> Result<Vec<Self>, Error> {
        let text =
            fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let numbered = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let parsed = numbered.filter_map(|(index, line)| {
            let error = |source| Error::Line { path: path.to_owned(), number: index + 1, source };
            let value: serde_json::Value = match serde_json::from_str(line) {
                Ok(value) => value,
                Err(source) => return Some(Err(error(source))),
            };
            (value["impl"] != "ceiling").then(|| serde_json::from_value(value).map_err(error))
        });
        parsed.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line() -> Line {
        let fields = json!({
            "date": "2026-01-02", "cpu": "c", "impl": "warpdot", "kernel": "cpu-avx2-gemv-q8_0", "numerics": "fast",
            "type": "Q8_0", "m": 2, "n": 3, "k": 32, "threads": 1, "cold": true, "ms": null, "gbps": null,
            "gops": null, "ceiling_gbps": 1.0, "ceiling_gops": 2.0,
        });
        serde_json::from_value(fields).unwrap()
    }

    #[test]
    fn rates_follow_from_the_time() {
        let line = line().timed(1e-6, 102);
        assert_eq!((line.ms, line.gbps, line.gops), (Some(1e-3), Some(0.102), Some(0.384)));
        let intensity = line.intensity().unwrap();
        assert!((intensity - 384.0 / 102.0).abs() < 1e-12);
        assert_eq!(line.roof(), Some(2.0), "of arithmetic");
        assert!((line.share_of_roof().unwrap() - 0.192).abs() < 1e-12);
        let by_memory = Line { ceiling_gops: None, ..line };
        assert_eq!(by_memory.roof(), Some(intensity));
        assert_eq!(Line { ceiling_gbps: None, ..by_memory }.roof(), None);
    }

    #[test]
    fn lines_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines.jsonl");
        let (a, b) = (line(), line().timed(2.0, 102));
        let ceiling = json!({ "impl": "ceiling", "gbps": 3.0 });
        let text = format!("{}\n\n{ceiling}\n{}\n", json!(a), json!(b));
        fs::write(&path, text).unwrap();
        assert_eq!(Line::read(&path).unwrap(), [a, b]);

        for (bad, part) in [("{\"impl\": \"x\"}", "missing field"), ("[", "EOF"), ("7", "invalid type")] {
            fs::write(&path, format!("\n{bad}\n")).unwrap();
            let message = Line::read(&path).unwrap_err().to_string();
            assert!(message.contains("lines.jsonl, line 2: ") && message.contains(part), "{message}");
        }
        let message = Line::read(&folder.path().join("none")).unwrap_err().to_string();
        assert!(message.starts_with("cannot read ") && message.contains("none: "), "{message}");
    }

    /// They are there to be drawn, too.
    #[test]
    fn stored_results_are_lines() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/results");
        let mut read = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.to_string_lossy().ends_with("-matmul.jsonl") {
                let lines = Line::read(&path).unwrap();
                assert!(lines.iter().all(|line| line.device == "cpu" && line.ms.is_some()));
                read += lines.len();
            }
        }
        assert!(read > 0);
    }
}
