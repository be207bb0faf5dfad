//! Unsound files: one field at a time is wrong, and the error names it.

mod common;

use common::*;
use proptest::prelude::*;
use warpdot_gguf::{Error, Gguf};

/// Reads a sound file that `spoil` has spoiled.
fn error_of(spoil: impl FnOnce(&mut Draft)) -> Error {
    let mut draft = Draft::sound();
    spoil(&mut draft);
    Gguf::from_bytes(draft.bytes()).expect_err("a spoiled file")
}

/// Asserts that the error is of one variant and reads as it should.
macro_rules! assert_error {
    ($error:expr, $variant:pat, $message:expr) => {{
        let error: Error = $error;
        assert!(matches!(error, $variant), "{error:?}");
        assert_eq!(error.to_string(), $message);
    }};
}

#[test]
fn empty_file() {
    assert_error!(
        Gguf::from_bytes(Vec::new()).unwrap_err(),
        Error::Truncated { .. },
        "the file ends too early: the magic at byte 0 needs 4 bytes, 0 are left"
    );
    let empty = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(Gguf::open(empty.path()), Err(Error::Truncated { .. })));
}

#[test]
fn truncated_anywhere() {
    let whole = Draft { tensors: Draft::sound().tensors[..2].to_vec(), ..Draft::sound() }.bytes();
    Gguf::from_bytes(whole.clone()).unwrap();
    for len in 0..whole.len() {
        match Gguf::from_bytes(whole[..len].to_vec()) {
            Err(Error::Truncated { offset, needed, available, .. }) => {
                assert!(offset + available == len && needed > available as u64);
            }
            Err(Error::Count { .. } | Error::PastEnd { .. }) => {}
            other => panic!("cut to {len} of {} bytes: {other:?}", whole.len()),
        }
    }
}

#[test]
fn wrong_magic() {
    assert_error!(
        error_of(|d| d.magic = *b"GGML"),
        Error::Magic { .. },
        "not a GGUF file: it starts with [47, 47, 4d, 4c], expected [47, 47, 55, 46] (\"GGUF\")"
    );
}

#[test]
fn big_endian() {
    assert_error!(
        error_of(|d| d.version = 3u32.swap_bytes()),
        Error::BigEndian { .. },
        "the file is big-endian (its version reads 0x03000000); expected a little-endian one"
    );
}

#[test]
fn unsupported_version() {
    for version in [0, 1, 4, u32::MAX] {
        assert_error!(
            error_of(|d| d.version = version),
            Error::Version { .. },
            format!("GGUF version {version} is not supported; expected 2 or 3")
        );
    }
}

#[test]
fn counts_the_file_cannot_hold() {
    for count in [1 << 20, 1 << 60, u64::MAX] {
        let error = error_of(|d| d.entry_count = Some(count));
        assert!(matches!(error, Error::Count { what: "the number of metadata entries", .. }), "{error}");
        let error = error_of(|d| d.tensor_count = Some(count));
        assert!(matches!(error, Error::Count { what: "the number of tensors", .. }), "{error}");
        for element in [BOOL, U32, STRING, ARRAY] {
            let error = error_of(|d| d.entries[4].value = array(element, count, &[]));
            assert!(matches!(error, Error::Count { what: "an array's length", .. }), "{error}");
        }
    }
    let bytes = Draft { entry_count: Some(1 << 60), ..Draft::sound() }.bytes();
    let most = (bytes.len() - 24) / 13;
    assert_eq!(
        Gguf::from_bytes(bytes).unwrap_err().to_string(),
        format!(
            "the number of metadata entries is {} at byte 16, but the rest of the file has room for at most \
             {most}",
            1u64 << 60
        )
    );
}

#[test]
fn a_count_one_too_large() {
    let mut draft = Draft { tensors: vec![], data: vec![], alignment: 1, ..Draft::sound() };
    draft.entries.push(entry("last", ARRAY, array(BOOL, 4, &[0, 1, 1])));
    let error = Gguf::from_bytes(draft.bytes()).unwrap_err();
    assert!(matches!(error, Error::Count { count: 4, most: 3, .. }), "{error}");
}

#[test]
fn string_longer_than_the_file() {
    for len in [10_000u64, u64::MAX] {
        let error = error_of(|d| d.entries[0].value = len.to_le_bytes().to_vec());
        assert!(matches!(error, Error::Truncated { needed, .. } if needed == len), "{error}");
    }
}

#[test]
fn text_that_is_not_utf8() {
    let bad = b"ok\xff\xfe".to_vec();
    let key = error_of(|d| d.entries[0].key = bad.clone());
    assert_error!(
        key,
        Error::Utf8 { .. },
        "a metadata key at byte 32 is not UTF-8: byte 2 of the text is wrong"
    );
    let value = error_of(|d| d.entries[0].value = text(&bad));
    assert!(matches!(value, Error::Utf8 { what: "a metadata value", bad: 2, .. }), "{value}");
    let name = error_of(|d| d.tensors[0].name = bad.clone());
    assert!(matches!(name, Error::Utf8 { what: "a tensor name", bad: 2, .. }), "{name}");
}

#[test]
fn unknown_value_types() {
    assert_error!(
        error_of(|d| d.entries[1].type_id = 13),
        Error::ValueType { .. },
        "metadata `answer` has value type 13; expected 0 to 12"
    );
    assert_error!(
        error_of(|d| d.entries[4].value = array(99, 0, &[])),
        Error::ValueType { .. },
        "metadata `tokens` has value type 99; expected 0 to 12"
    );
}

#[test]
fn boolean_that_is_neither() {
    assert_error!(
        error_of(|d| d.entries[3].value = vec![2]),
        Error::Bool { .. },
        "metadata `flag` holds the boolean 2; expected 0 or 1"
    );
}

#[test]
fn arrays_nested_too_deeply() {
    let nest = |depth: usize| [array(ARRAY, 1, &[]).repeat(depth - 1), array(BOOL, 1, &[1])].concat();
    let file = |depth| {
        let mut draft = Draft::sound();
        draft.entries[5].value = nest(depth);
        Gguf::from_bytes(draft.bytes())
    };
    file(4).unwrap();
    assert_error!(
        file(5).unwrap_err(),
        Error::Depth { .. },
        "metadata `nested` nests arrays deeper than 4 levels"
    );
    // Deep enough to exhaust the stack of a reader without a limit.
    assert!(matches!(file(1_000_000), Err(Error::Depth { .. })));
}

#[test]
fn duplicates() {
    assert_error!(
        error_of(|d| d.entries[2].key = b"answer".to_vec()),
        Error::DuplicateKey { .. },
        "metadata `answer` appears twice; expected each key once"
    );
    assert_error!(
        error_of(|d| d.tensors[1].name = b"matrix".to_vec()),
        Error::DuplicateTensor { .. },
        "tensor `matrix` appears twice; expected each name once"
    );
}

#[test]
fn alignment_of_wrong_type_or_value() {
    for (type_id, value, shown) in [
        (U32, 0u32.to_le_bytes().to_vec(), "U32(0)"),
        (U32, 48u32.to_le_bytes().to_vec(), "U32(48)"),
        (BOOL, vec![1], "Bool(true)"),
    ] {
        assert_error!(
            error_of(|d| d.entries.push(entry("general.alignment", type_id, &value))),
            Error::Alignment { .. },
            format!("metadata `general.alignment` is {shown}; expected a u32 power of two")
        );
    }
}

#[test]
fn alignment_beyond_the_file() {
    let huge = entry("general.alignment", U32, (1u32 << 31).to_le_bytes());
    let error = error_of(|d| d.entries.push(huge));
    assert!(matches!(error, Error::PastEnd { available: 0, .. }), "{error}");
}

#[test]
fn too_many_dimensions() {
    assert_error!(
        error_of(|d| d.tensors[0].dims = vec![32, 1, 1, 1, 1]),
        Error::Dimensions { .. },
        "tensor `matrix` has 5 dimensions; expected at most 4"
    );
}

#[test]
fn shapes_that_overflow() {
    for dims in [
        vec![1 << 32, 1 << 32],
        vec![1 << 62, 4],
        vec![32, u64::MAX],
        vec![1 << 60, 16, 1, 1],
        vec![0, 1 << 40, 1 << 40],
    ] {
        assert_error!(
            error_of(|d| d.tensors[0].dims = dims.clone()),
            Error::ShapeOverflow { .. },
            format!("tensor `matrix` of shape {dims:?} is too large to address")
        );
    }
    let mut draft = Draft::sound();
    draft.tensors[2].dims = vec![1, 1 << 40, 1 << 40]; // of unknown type: only its shape overflows
    let file = Gguf::from_bytes(draft.bytes()).unwrap();
    assert!(matches!(file.tensor("future").unwrap().shape(), Err(Error::ShapeOverflow { .. })));
}

#[test]
fn rows_that_are_not_whole_blocks() {
    assert_error!(
        error_of(|d| d.tensors[0] = record("matrix", &[384, 3], TENSOR_Q4_K, 0)),
        Error::PartialBlock { .. },
        "tensor `matrix` has rows of 384 weights; Q4_K needs a multiple of 256"
    );
}

#[test]
fn misaligned_tensor() {
    assert_error!(
        error_of(|d| d.tensors[1].offset = 208),
        Error::Misaligned { .. },
        "tensor `vector` starts at offset 208; expected a multiple of the alignment 32"
    );
}

#[test]
fn tensors_past_the_end() {
    assert_error!(
        error_of(|d| d.tensors[0].dims = vec![64, 4]),
        Error::PastEnd { .. },
        "tensor `matrix` needs 272 bytes at offset 0 of the data, which has 244"
    );
    for offset in [256, 1 << 40, u64::MAX - 31] {
        let error = error_of(|d| d.tensors[1].offset = offset);
        assert!(matches!(error, Error::PastEnd { offset: found, .. } if found == offset), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn spoiled_bytes_do_not_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = Draft::sound().bytes();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
        read_all(bytes);
    }

    #[test]
    fn arbitrary_counts_do_not_panic(
        tensors in any::<u64>(),
        entries in any::<u64>(),
        dims in prop::collection::vec(any::<u64>(), 0..5),
        offset in any::<u64>(),
        shift in 0u32..64,
    ) {
        let mut draft = Draft::sound();
        draft.tensors[0].dims = dims.iter().map(|dim| (dim >> shift) & !31).collect();
        draft.tensors[0].offset = (offset >> shift) & !31;
        read_all(draft.bytes());
        draft.tensor_count = Some(tensors >> shift);
        draft.entry_count = Some(entries >> shift);
        read_all(draft.bytes());
    }
}
