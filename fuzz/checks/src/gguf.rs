//! The reader of GGUF files against a plain reading of the format's description.

use warpdot_gguf::Gguf;

use crate::bytes::Reader;

/// A file that is accepted must hold what a plain reading finds in it, every tensor where that finds it.
///
/// # Panics
/// If not.
pub fn gguf(file: &[u8]) {
    let Ok(read) = Gguf::from_bytes(file.to_vec()) else { return };
    let expected = outline(file).expect("the reader accepted what cannot be read");
    assert_eq!(read.metadata().len(), expected.keys.len());
    for ((key, value), (expected, ty)) in read.metadata().zip(&expected.keys) {
        assert_eq!((key.as_bytes(), u64::from(value.type_id())), (&expected[..], *ty));
    }
    assert_eq!(read.tensors().len(), expected.tensors.len());
    let mut alignment = 32;
    if let Some(value) = read.value("general.alignment") {
        alignment = value.as_u64().expect("an alignment that is no number");
    }
    assert_eq!(u64::from(read.alignment()), alignment);
    let start = (expected.header as u64).next_multiple_of(alignment);
    for (tensor, expected) in read.tensors().zip(&expected.tensors) {
        assert_eq!(tensor.name().as_bytes(), expected.name);
        assert_eq!((u64::from(tensor.ty().id()), tensor.dims()), (expected.ty, &expected.dims[..]));
        let Some((weights, bytes)) = tensor.ty().block() else {
            assert!(tensor.bytes().is_err(), "a tensor of unknown type has bytes");
            continue;
        };
        let elements: u128 = expected.dims.iter().map(|&dim| u128::from(dim)).product();
        let size = elements / u128::from(weights) * u128::from(bytes);
        let from = u128::from(start) + u128::from(expected.offset);
        let found = tensor.bytes().expect("a known type");
        assert_eq!(found.len() as u128, size);
        let from = usize::try_from(from).expect("a tensor past the end");
        if size > 0 {
            assert_eq!(&found[..], &file[from..from + found.len()]);
        }
    }
}

struct Outline<'a> {
    /// Names and types.
    keys: Vec<(&'a [u8], u64)>,
    tensors: Vec<Record<'a>>,
    /// Bytes before the padding that precedes the data.
    header: usize,
}

struct Record<'a> {
    name: &'a [u8],
    dims: Vec<u64>,
    ty: u64,
    offset: u64,
}

fn outline(file: &[u8]) -> Option<Outline<'_>> {
    let mut reader = Reader::new(file);
    (reader.take(4)? == b"GGUF").then_some(())?;
    matches!(reader.number::<4>()?, 2 | 3).then_some(())?;
    let (tensors, keys) = (reader.number::<8>()?, reader.number::<8>()?);
    let mut outline = Outline { keys: Vec::new(), tensors: Vec::new(), header: 0 };
    for _ in 0..keys {
        let key = string(&mut reader)?;
        let ty = reader.number::<4>()?;
        skip(&mut reader, ty)?;
        outline.keys.push((key, ty));
    }
    for _ in 0..tensors {
        let name = string(&mut reader)?;
        let dims = reader.number::<4>()?;
        let dims = (0..dims).map(|_| reader.number::<8>()).collect::<Option<_>>()?;
        let (ty, offset) = (reader.number::<4>()?, reader.number::<8>()?);
        outline.tensors.push(Record { name, dims, ty, offset });
    }
    outline.header = reader.position;
    Some(outline)
}

fn string<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = reader.number::<8>()?;
    reader.take(length)
}

/// Passes over a metadata value.
fn skip(reader: &mut Reader<'_>, ty: u64) -> Option<()> {
    match ty {
        0 | 1 | 7 => reader.take(1).map(drop),
        2 | 3 => reader.take(2).map(drop),
        4..=6 => reader.take(4).map(drop),
        8 => string(reader).map(drop),
        9 => {
            let (ty, length) = (reader.number::<4>()?, reader.number::<8>()?);
            (0..length).try_for_each(|_| skip(reader, ty))
        }
        10..=12 => reader.take(8).map(drop),
        _ => None,
    }
}
