//! Compiled files that builds of all profiles and features share, some of which may run at the same time.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

/// The folder of the files.
pub(crate) struct Cache(PathBuf);

impl Cache {
    /// The cache for a build whose `OUT_DIR` is `out`, for the machine `target`: beside the profiles' folders, or
    /// else in `out`. When cargo was told the machine, those are in a folder with its name; what is compiled for
    /// GPUs is the same for all.
    pub(crate) fn beside(out: &Path, target: &str) -> Result<Self, String> {
        let profile = out.ancestors().find(|folder| folder.ends_with("build")).and_then(Path::parent);
        let profiles = profile.and_then(Path::parent).unwrap_or(out);
        let named = profiles.ends_with(target).then(|| profiles.parent()).flatten();
        let folder = named.unwrap_or(profiles).join("nvptx");
        fs::create_dir_all(&folder).map_err(|error| failed(&folder, error))?;
        Ok(Self(folder))
    }

    /// The folder that `make` filled for this `key`, now or in an earlier build. Folders for other keys stay: a
    /// build that runs beside this one may be using them.
    pub(crate) fn folder(
        &self,
        name: &str,
        key: u64,
        make: impl FnOnce(&Path) -> Result<(), String>,
    ) -> Result<PathBuf, String> {
        let folder = self.0.join(format!("{name}-{key:016x}"));
        let _held = lock(&folder)?;
        if !folder.is_dir() {
            // A folder that is half full must not bear the name.
            let unfinished = folder.with_extension("unfinished");
            fs::create_dir_all(&unfinished).map_err(|error| failed(&unfinished, error))?;
            make(&unfinished)?;
            fs::rename(&unfinished, &folder).map_err(|error| failed(&folder, error))?;
        }
        Ok(folder)
    }

    /// The text that `make` gave for this `key`, now or in an earlier build. One text is kept of each name.
    pub(crate) fn text(
        &self,
        name: &str,
        key: u64,
        make: impl FnOnce() -> Result<String, String>,
    ) -> Result<String, String> {
        let file = self.0.join(name);
        let _held = lock(&file)?;
        let first_line = format!("// {key:016x}\n");
        if let Some(text) = fs::read_to_string(&file).ok().and_then(|whole| {
            let text = whole.strip_prefix(&first_line)?;
            Some(text.to_string())
        }) {
            return Ok(text);
        }
        let text = make()?;
        let unfinished = self.0.join(format!("{name}.unfinished"));
        fs::write(&unfinished, first_line + &text)
            .and_then(|()| fs::rename(&unfinished, &file))
            .map_err(|error| failed(&file, error))?;
        Ok(text)
    }
}

/// A key that differs whenever `parts` do.
pub(crate) fn key(parts: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

/// A key that differs whenever a file in one of `folders`, or in a folder in them, does.
pub(crate) fn key_of_files(folders: &[&Path]) -> Result<u64, String> {
    let (mut files, mut open) =
        (Vec::new(), folders.iter().map(|folder| folder.to_path_buf()).collect::<Vec<_>>());
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| failed(&folder, error))? {
            let path = entry.map_err(|error| failed(&folder, error))?.path();
            if path.is_dir() { open.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    let contents: Vec<Vec<u8>> = files
        .iter()
        .map(|file| fs::read(file).map_err(|error| failed(file, error)))
        .collect::<Result<_, _>>()?;
    Ok(key((files, contents)))
}

/// Waits for other builds that make the same; they may go on when what this returns is dropped.
fn lock(path: &Path) -> Result<File, String> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    File::create(&path).and_then(|file| file.lock().map(|()| file)).map_err(|error| failed(&path, error))
}

fn failed(path: &Path, error: io::Error) -> String {
    format!("{}: {error}", path.display())
}
