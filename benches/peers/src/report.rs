//! Results as lines of JSON.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde_json::{Value, json};
use warpdot_measure::machine;

/// A file of JSON objects, one a line, each with the date and the name of the CPU.
pub struct Report {
    file: Option<BufWriter<File>>,
    date: String,
    cpu: String,
}

impl Report {
    /// Appends to the file at `path`; without one, writes nothing.
    pub fn append(path: Option<&Path>) -> io::Result<Self> {
        let open = |path| File::options().create(true).append(true).open(path).map(BufWriter::new);
        Ok(Self { file: path.map(open).transpose()?, date: machine::date(), cpu: machine::cpu() })
    }

    /// Writes the fields of `object`.
    ///
    /// # Panics
    /// If it is no object.
    pub fn write(&mut self, object: Value) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut line = json!({ "date": self.date, "cpu": self.cpu });
        #[cfg(feature = "ggml")]
        {
            line["ggml_version"] = json!(crate::ggml::version());
        }
        let fields = object.as_object().expect("an object").clone();
        line.as_object_mut().expect("an object").extend(fields);
        writeln!(file, "{line}")?;
        file.flush()
    }
}
