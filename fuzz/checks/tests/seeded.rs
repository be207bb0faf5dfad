//! The checks with seeded bytes: a short run of what the fuzzer does for as long as one likes.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use warpdot_formats::GgmlType;
use warpdot_fuzz_checks::{dequantize, dot, gguf};

fn random(rng: &mut StdRng, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    rng.fill(&mut bytes[..]);
    bytes
}

/// Bytes of which many are alike, so that codes and scales take their extremes.
fn extreme(rng: &mut StdRng, count: usize) -> Vec<u8> {
    let bytes = [0, 0, 0x7f, 0x80, 0xff, 0x7c, 0x3c, rng.random()];
    (0..count).map(|_| bytes[rng.random_range(0..bytes.len())]).collect()
}

#[test]
fn weights_of_any_bytes() {
    let mut rng = StdRng::seed_from_u64(1);
    for format in 0..GgmlType::ALL.len() as u8 {
        for bytes in [random, extreme] {
            let mut input = vec![format];
            input.extend(bytes(&mut rng, 300));
            dequantize(&input);
        }
    }
}

#[test]
fn products_of_any_bytes() {
    let mut rng = StdRng::seed_from_u64(2);
    for format in 0..GgmlType::ALL.len() as u8 {
        for bytes in [random, extreme] {
            let mut input = vec![format, rng.random(), rng.random(), rng.random()];
            let count = rng.random_range(0..100_000);
            input.extend(bytes(&mut rng, count));
            dot(&input);
        }
    }
}

/// A small file: two metadata entries, one of them an array, and two tensors.
fn file() -> Vec<u8> {
    let mut file = b"GGUF\x03\0\0\0".to_vec();
    let number = |file: &mut Vec<u8>, number: u64| file.extend(number.to_le_bytes());
    let string = |file: &mut Vec<u8>, text: &str| {
        file.extend((text.len() as u64).to_le_bytes());
        file.extend(text.bytes());
    };
    number(&mut file, 2);
    number(&mut file, 2);
    string(&mut file, "general.alignment");
    file.extend([4, 0, 0, 0, 64, 0, 0, 0]);
    string(&mut file, "a");
    file.extend([9, 0, 0, 0, 8, 0, 0, 0]);
    number(&mut file, 2);
    string(&mut file, "thirteen char");
    string(&mut file, "");
    for (name, ty, offset) in [("w", 2u8, 0), ("v", 0, 64)] {
        string(&mut file, name);
        file.extend([2, 0, 0, 0]);
        number(&mut file, 32);
        number(&mut file, 2);
        file.extend([ty, 0, 0, 0]);
        number(&mut file, offset);
    }
    let length = file.len().next_multiple_of(64) + 64 + 256;
    file.extend((file.len()..length).map(|at| at as u8));
    file
}

#[test]
fn files_of_any_bytes() {
    let sound = file();
    warpdot_gguf::Gguf::from_bytes(sound.clone()).expect("a sound file");
    gguf(&sound);
    let mut rng = StdRng::seed_from_u64(3);
    let mut accepted = 0;
    for _ in 0..30_000 {
        let mut file = sound.clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..file.len());
            match rng.random_range(0..4) {
                0 => file[at] = rng.random(),
                1 => file[at] ^= 1 << rng.random_range(0..8),
                2 => file.truncate(at.max(1)),
                _ => drop(file.splice(at..at, random(&mut rng, 1))),
            }
        }
        accepted += usize::from(warpdot_gguf::Gguf::from_bytes(file.clone()).is_ok());
        gguf(&file);
    }
    assert!(accepted > 1000, "only {accepted} of the files tell whether they are read rightly");
}
