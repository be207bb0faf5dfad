//! The encoding of AMX instructions: three bytes of VEX prefix, an opcode, operands.

/// Two numbers in a row of registers, and what is added: the address of the first row, and the way to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operand {
    base: usize,
    index: Option<usize>,
    scale: i64,
    displacement: i64,
}

impl Operand {
    /// The address of the first row, and how far the next one is, given the registers' contents.
    pub(super) fn address(self, register: impl Fn(usize) -> i64) -> (i64, i64) {
        let stride = self.index.map_or(0, |index| register(index) * self.scale);
        (register(self.base) + self.displacement, stride)
    }
}

/// Tiles are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instruction {
    /// `ldtilecfg`
    Configure(Operand),
    /// `sttilecfg`
    StoreConfiguration(Operand),
    /// `tilezero`
    Zero(usize),
    /// `tileloadd` or `tileloaddt1`, which differ in the use of caches
    Load(usize, Operand),
    /// `tilestored`
    Store(usize, Operand),
    /// `tdpbf16ps`
    DotBf16 { to: usize, a: usize, b: usize },
    /// `tdpbusd`
    DotBytes { to: usize, a: usize, b: usize },
}

/// The instruction at the start of `bytes`, and its length; nothing if it is not one of these.
pub(super) fn decode(bytes: &[u8; 15]) -> Option<(Instruction, usize)> {
    let [0xc4, first, second, opcode, modrm, ..] = *bytes else { return None };
    // Registers' highest bits are stored inverted; opcodes are those of the map 0f 38, vectors have 128 bits.
    let (high_reg, high_index, high_base) = (!first >> 7 & 1, !first >> 6 & 1, !first >> 5 & 1);
    if first & 0x1f != 2 || second & 0b1000_0100 != 0 {
        return None;
    }
    let (prefix, vvvv) = (second & 3, usize::from(!second >> 3 & 15));
    let (mode, reg, rm) = (modrm >> 6, usize::from(modrm >> 3 & 7 | high_reg << 3), usize::from(modrm & 7));
    let memory = || {
        let (mut length, scale, index, base) = match rm {
            4 => {
                let sib = bytes[5];
                let index = usize::from(sib >> 3 & 7 | high_index << 3);
                (6, 1 << (sib >> 6), (index != 4).then_some(index), usize::from(sib & 7 | high_base << 3))
            }
            _ => (5, 1, None, rm | usize::from(high_base) << 3),
        };
        let displacement = match mode {
            0 if base & 7 != 5 => 0,
            1 => i64::from(bytes[length].cast_signed()),
            2 => i64::from(i32::from_le_bytes(*bytes[length..].first_chunk()?)),
            _ => return None, // relative to something else, or no memory
        };
        length += [0, 1, 4][usize::from(mode)];
        Some((Operand { base, index, scale, displacement }, length))
    };
    let with_memory = |make: &dyn Fn(Operand) -> Instruction| {
        let (operand, length) = memory()?;
        Some((make(operand), length))
    };
    let three_tiles = reg < 8 && vvvv < 8 && high_base == 0;
    // Prefixes 0 to 3 stand for none, 66, f3 and f2. There are eight tiles.
    match (opcode, prefix, mode) {
        (0x49, 0, _) if reg == 0 && vvvv == 0 => with_memory(&Instruction::Configure),
        (0x49, 1, _) if reg == 0 && vvvv == 0 => with_memory(&Instruction::StoreConfiguration),
        (0x49, 3, 3) if rm == 0 && vvvv == 0 && reg < 8 => Some((Instruction::Zero(reg), 5)),
        (0x4b, 1 | 3, _) if rm == 4 && vvvv == 0 && reg < 8 => {
            with_memory(&|from| Instruction::Load(reg, from))
        }
        (0x4b, 2, _) if rm == 4 && vvvv == 0 && reg < 8 => with_memory(&|to| Instruction::Store(reg, to)),
        (0x5c, 2, 3) if three_tiles => Some((Instruction::DotBf16 { to: reg, a: rm, b: vvvv }, 5)),
        (0x5e, 1, 3) if three_tiles => Some((Instruction::DotBytes { to: reg, a: rm, b: vvvv }, 5)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: &[u8], expected: Instruction) {
        let mut bytes = [0x90; 15];
        bytes[..code.len()].copy_from_slice(code);
        assert_eq!(decode(&bytes), Some((expected, code.len())));
    }

    /// Encodings by the GNU assembler.
    #[test]
    fn instructions_are_what_another_assembler_made_them_of() {
        let operand = |base, index, scale, displacement| Operand { base, index, scale, displacement };
        check(&[0xc4, 0xe2, 0x78, 0x49, 0x06], Instruction::Configure(operand(6, None, 1, 0)));
        check(&[0xc4, 0xe2, 0x78, 0x49, 0x44, 0x24, 0x40], Instruction::Configure(operand(4, None, 1, 64)));
        check(&[0xc4, 0xc2, 0x78, 0x49, 0x04, 0x24], Instruction::Configure(operand(12, None, 1, 0)));
        check(
            &[0xc4, 0xc2, 0x78, 0x49, 0x85, 0x00, 0x10, 0x00, 0x00],
            Instruction::Configure(operand(13, None, 1, 4096)),
        );
        check(&[0xc4, 0xe2, 0x79, 0x49, 0x06], Instruction::StoreConfiguration(operand(6, None, 1, 0)));
        check(
            &[0xc4, 0xc2, 0x79, 0x49, 0x44, 0x24, 0x40],
            Instruction::StoreConfiguration(operand(12, None, 1, 64)),
        );
        check(&[0xc4, 0xe2, 0x7b, 0x49, 0xd8], Instruction::Zero(3));
        check(&[0xc4, 0xe2, 0x7b, 0x4b, 0x24, 0x0f], Instruction::Load(4, operand(7, Some(1), 1, 0)));
        check(
            &[0xc4, 0x82, 0x7b, 0x4b, 0xbc, 0x0e, 0x00, 0x04, 0x00, 0x00],
            Instruction::Load(7, operand(14, Some(9), 1, 1024)),
        );
        check(&[0xc4, 0xa2, 0x7b, 0x4b, 0x6c, 0xb8, 0x40], Instruction::Load(5, operand(0, Some(15), 4, 64)));
        check(&[0xc4, 0xe2, 0x79, 0x4b, 0x24, 0x0f], Instruction::Load(4, operand(7, Some(1), 1, 0)));
        check(
            &[0xc4, 0x82, 0x79, 0x4b, 0xac, 0x0e, 0x00, 0x04, 0x00, 0x00],
            Instruction::Load(5, operand(14, Some(9), 1, 1024)),
        );
        check(&[0xc4, 0xc2, 0x7a, 0x4b, 0x14, 0x10], Instruction::Store(2, operand(8, Some(2), 1, 0)));
        check(&[0xc4, 0xe2, 0x7a, 0x4b, 0x4c, 0x1d, 0x40], Instruction::Store(1, operand(5, Some(3), 1, 64)));
        check(&[0xc4, 0xe2, 0x42, 0x5c, 0xdd], Instruction::DotBf16 { to: 3, a: 5, b: 7 });
        check(&[0xc4, 0xe2, 0x49, 0x5e, 0xc4], Instruction::DotBytes { to: 0, a: 4, b: 6 });
        assert_eq!(decode(&[0x90; 15]), None);
    }
}
