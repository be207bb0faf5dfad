//! Files written by this crate: they hold what they were given, and nothing else takes their place.

#[path = "../../tests/again/mod.rs"]
#[allow(dead_code, reason = "only tests of linking ask for a linker")]
#[cfg(target_os = "linux")]
mod again;
mod common;

use common::*;
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;
use warpdot_gguf::{Array, Error, Gguf, Outline, TensorType, Value, Writer};

/// A folder, and the path of a file in it that is not there yet.
fn target() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    (folder, path)
}

/// What is in a folder, by name.
fn listing(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Three bytes in `a`, none in `b`, eight in `c`.
fn outline() -> Outline {
    let mut outline = Outline::new();
    outline.set("general.architecture", Value::String("bert".into()));
    outline.add_tensor("a", TensorType::from_id(24), &[3]).unwrap();
    outline.add_tensor("b", TensorType::F32, &[0, 5]).unwrap();
    outline.add_tensor("c", TensorType::F16, &[2, 2]).unwrap();
    outline
}

fn complete(path: &Path) -> Writer {
    let mut writer = outline().create(path).unwrap();
    writer.write("a", &[1, 2, 3]).unwrap();
    writer.write("c", &[4; 8]).unwrap();
    writer
}

/// Writes the file anew; tensors of unknown size are left out.
fn rewrite(file: &Gguf, path: &Path) {
    let mut outline = Outline::new();
    file.metadata().for_each(|(key, value)| outline.set(key, value.clone()));
    let known: Vec<_> = file.tensors().filter(|tensor| tensor.bytes().is_ok()).collect();
    for tensor in &known {
        outline.add_tensor(tensor.name(), tensor.ty(), tensor.dims()).unwrap();
    }
    let mut writer = outline.create(path).unwrap();
    for tensor in &known {
        // Pieces of any size make the tensor.
        for piece in tensor.bytes().unwrap().chunks(100) {
            writer.write(tensor.name(), piece).unwrap();
        }
    }
    writer.finish().unwrap();
}

#[test]
fn a_canonical_file_is_rewritten_byte_for_byte() {
    let mut draft = Draft::sound();
    draft.tensors.truncate(2);
    draft.data[204..224].fill(0); // the padding
    draft.data.resize(256, 0);
    let (_folder, path) = target();
    rewrite(&Gguf::from_bytes(draft.bytes()).unwrap(), &path);
    assert_eq!(fs::read(&path).unwrap(), draft.bytes());
}

#[test]
fn values_are_replaced_in_their_place_and_appended() {
    let (_folder, path) = target();
    let mut outline = outline();
    outline.set("second", Value::Bool(true));
    outline.set("general.architecture", Value::U8(7));
    let mut writer = outline.create(&path).unwrap();
    writer.write("a", &[0; 3]).unwrap();
    writer.write("c", &[0; 8]).unwrap();
    writer.finish().unwrap();
    let file = Gguf::open(&path).unwrap();
    let entries: Vec<_> = file.metadata().collect();
    assert_eq!(entries, [("general.architecture", &Value::U8(7)), ("second", &Value::Bool(true))]);
}

#[test]
fn every_tensor_is_padded_to_the_alignment() {
    for alignment in [1u32, 8, 32, 4096] {
        let (_folder, path) = target();
        let mut outline = outline();
        outline.set("general.alignment", Value::U32(alignment));
        let mut writer = outline.create(&path).unwrap();
        writer.write("a", &[1, 2, 3]).unwrap();
        writer.write("c", &[4; 4]).unwrap();
        writer.write("c", &[5; 4]).unwrap();
        writer.finish().unwrap();
        let bytes = fs::read(&path).unwrap();
        let (a, c) =
            (3usize.next_multiple_of(alignment as usize), 8usize.next_multiple_of(alignment as usize));
        assert_eq!(bytes.len() % alignment as usize, 0);
        let data = &bytes[bytes.len() - a - c..];
        assert_eq!((&data[..3], &data[a..a + 8]), (&[1, 2, 3][..], &[4, 4, 4, 4, 5, 5, 5, 5][..]));
        assert!(data[3..a].iter().chain(&data[a + 8..]).all(|&byte| byte == 0));
        let file = Gguf::from_bytes(bytes).unwrap();
        assert_eq!(file.tensor("c").unwrap().bytes().unwrap(), [4, 4, 4, 4, 5, 5, 5, 5][..]);
        assert!(file.tensor("b").unwrap().bytes().unwrap().is_empty());
    }
}

#[test]
fn a_file_without_anything_can_be_read() {
    let (_folder, path) = target();
    Outline::new().create(&path).unwrap().finish().unwrap();
    let file = Gguf::open(&path).unwrap();
    assert_eq!((file.version(), file.metadata().len(), file.tensors().len()), (3, 0, 0));
}

#[test]
fn the_old_file_stays_until_the_new_one_is_complete() {
    let (folder, path) = target();
    fs::write(&path, "old").unwrap();
    let writer = complete(&path);
    assert_eq!((fs::read(&path).unwrap(), listing(&folder).len()), (b"old".to_vec(), 2));
    writer.finish().unwrap();
    assert_eq!(listing(&folder), ["model.gguf"]);
    assert_eq!(Gguf::open(&path).unwrap().tensor("a").unwrap().bytes().unwrap(), [1, 2, 3][..]);
}

#[test]
fn a_writer_that_is_dropped_or_incomplete_leaves_no_trace() {
    for old in [None, Some("old")] {
        let (folder, path) = target();
        old.iter().for_each(|text| fs::write(&path, text).unwrap());
        let before = listing(&folder);
        drop(complete(&path));
        assert_eq!(listing(&folder), before);
        let mut writer = outline().create(&path).unwrap();
        writer.write("a", &[1, 2]).unwrap();
        let error = writer.finish().unwrap_err();
        assert_eq!(error.to_string(), "tensor `a` got 2 bytes; expected 3");
        assert_eq!(listing(&folder), before);
        assert_eq!(fs::read_to_string(&path).ok().as_deref(), old);
    }
}

#[test]
fn a_mapped_file_can_be_replaced_by_a_new_version_of_itself() {
    let (folder, path) = target();
    fs::write(&path, Draft::sound().bytes()).unwrap();
    let old = Gguf::open(&path).unwrap();
    rewrite(&old, &path);
    assert_eq!(old.tensor("matrix").unwrap().bytes().unwrap(), Draft::sound().data[..204]);
    let new = Gguf::open(&path).unwrap();
    assert_eq!(new.tensor("matrix").unwrap().bytes().unwrap(), Draft::sound().data[..204]);
    assert_eq!((new.tensors().len(), listing(&folder).len()), (2, 1));
}

#[test]
#[cfg(unix)]
fn permissions_stay_and_links_are_followed() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let (folder, path) = target();
    complete(&path).finish().unwrap();
    let plain = folder.path().join("plain");
    fs::write(&plain, "").unwrap();
    assert_eq!(mode(&path), mode(&plain), "as any new file");

    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let link = folder.path().join("link");
    symlink("model.gguf", &link).unwrap();
    let before = fs::metadata(&path).unwrap();
    complete(&link).finish().unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(mode(&path), 0o640);
    use std::os::unix::fs::MetadataExt;
    assert_ne!(fs::metadata(&path).unwrap().ino(), before.ino(), "replaced, not overwritten");
}

#[test]
fn outputs_that_cannot_be() {
    let (folder, path) = target();
    let error = outline().create(folder.path()).unwrap_err();
    let shown = folder.path().display();
    assert_eq!(
        error.to_string(),
        format!("cannot write {shown}: it is there already and is not a regular file")
    );
    #[cfg(unix)]
    assert!(matches!(outline().create("/dev/null"), Err(Error::NotAFile { .. })));
    let error = outline().create(path.join("below")).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot write {}: ", path.join("below").display())));
    assert_eq!(listing(&folder), [""; 0]);
}

/// A limit on the size of files stands for a disk that is full.
#[test]
#[cfg(target_os = "linux")]
fn a_failed_write_is_an_error_then_and_later() {
    use rlimit_in_a_child::*;
    in_a_child("a_failed_write_is_an_error_then_and_later", || {
        let (folder, path) = target();
        let mut outline = Outline::new();
        outline.add_tensor("large", TensorType::F32, &[1 << 20]).unwrap();
        let mut writer = outline.create(&path).unwrap();
        let error = (0..64).find_map(|_| writer.write("large", &[0; 1 << 16]).err()).expect("a full disk");
        assert!(matches!(error, Error::Write { .. }), "{error}");
        assert_eq!(listing(&folder), [""; 0]);
        let error = writer.write("large", &[0; 4]).unwrap_err();
        assert!(error.to_string().ends_with("an earlier write failed"), "{error}");
    });
}

/// Runs a test once more, in a process of its own that cannot write files of more than a megabyte or two.
#[cfg(target_os = "linux")]
mod rlimit_in_a_child {
    use super::again::this_test;
    use std::{env, process::Command};

    pub(super) fn in_a_child(name: &str, test: impl FnOnce()) {
        const MARK: &str = "WARPDOT_TEST_IN_A_CHILD";
        if env::var_os(MARK).is_some() {
            return test();
        }
        // Beyond the limit the kernel sends SIGXFSZ, which kills whoever does not ignore it.
        let limited = "trap '' 25; ulimit -f 2048; exec \"$0\" \"$@\"";
        let output = this_test(Command::new("sh").args(["-c", limited]))
            .args(["--exact", name, "--nocapture"])
            .env(MARK, "1")
            .output()
            .unwrap();
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && report.contains("1 passed"), "{output:?}");
    }
}

#[test]
fn bytes_that_are_not_a_tensors() {
    let (_folder, path) = target();
    let mut writer = outline().create(&path).unwrap();
    let message = |result: Result<(), Error>| result.unwrap_err().to_string();
    assert_eq!(message(writer.write("a", &[0; 4])), "tensor `a` got 4 bytes; expected 3");
    assert_eq!(message(writer.write("c", &[0])), "bytes of tensor `c` came where tensor `a` was expected");
    writer.write("a", &[0; 3]).unwrap();
    assert_eq!(message(writer.write("a", &[0])), "bytes of tensor `a` came where tensor `c` was expected");
    writer.write("b", &[]).unwrap();
    writer.write("c", &[0; 8]).unwrap();
    assert_eq!(message(writer.write("c", &[0])), "bytes of tensor `c` came where the end was expected");
    writer.finish().unwrap();
}

#[test]
fn outlines_that_cannot_be() {
    let mut outline = outline();
    let mut add = |name: &str, id, dims: &[u64]| {
        outline.add_tensor(name, TensorType::from_id(id), dims).unwrap_err().to_string()
    };
    assert_eq!(add("a", 0, &[1]), "tensor `a` appears twice; expected each name once");
    assert_eq!(add("x", 1000, &[1]), "tensor `x` has the unknown ggml type 1000, so its size is unknown");
    assert_eq!(add("x", 0, &[1; 5]), "tensor `x` has 5 dimensions; expected at most 4");
    assert_eq!(add("x", 8, &[33, 2]), "tensor `x` has rows of 33 weights; Q8_0 needs a multiple of 32");
    assert!(add("x", 0, &[1 << 62, 4]).ends_with("is too large to address"));

    let (folder, path) = target();
    outline.add_tensor("huge", TensorType::from_id(24), &[u64::MAX - 7]).unwrap();
    assert!(matches!(outline.create(&path), Err(Error::ShapeOverflow { .. })));
    let with = |key: &str, value| {
        let mut outline = Outline::new();
        outline.set(key, value);
        outline.create(&path).unwrap_err().to_string()
    };
    assert_eq!(
        with("general.alignment", Value::U32(48)),
        "metadata `general.alignment` is U32(48); expected a u32 power of two"
    );
    let nest = |depth| (1..depth).fold(Array::U8(vec![]), |inner, _| Array::Array(vec![inner]));
    assert_eq!(with("deep", Value::Array(nest(5))), "metadata `deep` nests arrays deeper than 4 levels");
    assert_eq!(listing(&folder), [""; 0]);
}
