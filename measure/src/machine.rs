//! Where and when.

use std::{fs, path::Path};

/// Today's date, in UTC.
pub fn date() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()
}

/// The CPU's name, and how many threads it runs here.
pub fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name))?;
        line.split_once(": ").map(|(_, value)| value.trim().to_owned())
    };
    let threads = threads();
    match (field("model name"), field("cpu family"), field("model\t")) {
        (Some(model), Some(family), Some(number)) => {
            format!("{model} (family {family}, model {number}), {threads} threads")
        }
        _ => format!("{} CPU, {threads} threads", std::env::consts::ARCH),
    }
}

/// How many threads this process may run at once.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Bytes of the largest cache of the first CPU, where the system tells.
pub fn last_level_cache() -> Option<usize> {
    let caches = fs::read_dir("/sys/devices/system/cpu/cpu0/cache").ok()?;
    caches.filter_map(|entry| cache_size(&entry.ok()?.path())).max()
}

fn cache_size(folder: &Path) -> Option<usize> {
    let size = fs::read_to_string(folder.join("size")).ok()?;
    let (number, unit) = size.trim().split_at_checked(size.trim().len().checked_sub(1)?)?;
    let shift = match unit {
        "K" => 10,
        "M" => 20,
        _ => return None,
    };
    number.parse::<usize>().ok().map(|number| number << shift)
}

/// How many bytes are to be gone round so that none is in a cache: twice the last cache, and at least 256 MiB.
pub fn cold_bytes() -> usize {
    const LEAST: usize = 256 << 20;
    last_level_cache().map_or(LEAST, |bytes| LEAST.max(2 * bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_iso() {
        let date = date();
        assert!(date.len() == 10 && date.starts_with("20") && date.matches('-').count() == 2, "{date}");
    }

    #[test]
    fn sizes_of_caches_have_units() {
        let folder = tempfile::tempdir().unwrap();
        for (text, bytes) in [("32768K\n", Some(32 << 20)), ("2M", Some(2 << 20)), ("", None), ("12", None)] {
            fs::write(folder.path().join("size"), text).unwrap();
            assert_eq!(cache_size(folder.path()), bytes, "{text:?}");
        }
        assert!(cold_bytes() >= 256 << 20);
    }
}
