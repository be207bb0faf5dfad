//! The ways in which formats store scales: half-precision numbers in front of small blocks, and small integers in
//! front of, behind or between the codes of super-blocks. Lanes belong to runs.

use warpdot_formats::F16;

use super::*;

/// Scales of whole runs.
#[inline(always)]
fn of_runs<I: Simd<F32 = __m256>>(avx2: Avx2, scale: __m256) -> Scales<I> {
    of_halves(avx2, [scale, avx2.zero()])
}

/// Scales of the halves of runs.
#[inline(always)]
fn of_halves<I: Simd<F32 = __m256>>(avx2: Avx2, scale: [__m256; 2]) -> Scales<I> {
    Scales { scale, offset: [avx2.zero(); 2] }
}

impl Avx2 {
    #[inline(always)]
    fn zero(self) -> __m256 {
        // SAFETY: `self` proves AVX.
        unsafe { _mm256_setzero_ps() }
    }

    /// `scale` in all lanes.
    #[inline(always)]
    fn half(self, scale: F16) -> __m256 {
        // SAFETY: `self` proves AVX2 and F16C.
        unsafe { _mm256_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(scale.0)))) }
    }

    /// `scale` times integers.
    #[inline(always)]
    fn multiples(self, scale: __m256, integers: __m256i) -> __m256 {
        // SAFETY: `self` proves AVX.
        unsafe { _mm256_mul_ps(scale, _mm256_cvtepi32_ps(integers)) }
    }

    /// `unit * scale` times the odd numbers `2 * levels + 1`.
    #[inline(always)]
    fn odd_multiples(self, scale: F16, unit: f32, levels: __m256i) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let odd = _mm256_add_epi32(_mm256_add_epi32(levels, levels), _mm256_set1_epi32(1));
            self.multiples(_mm256_mul_ps(self.half(scale), _mm256_set1_ps(unit)), odd)
        }
    }

    /// The eight numbers of `bits` bits of a word, lowest first.
    #[inline(always)]
    fn bit_fields<const BITS: i32>(self, word: u32) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let shifts = _mm256_mullo_epi32(lanes, _mm256_set1_epi32(BITS));
            let moved = _mm256_srlv_epi32(_mm256_set1_epi32(word as i32), shifts);
            _mm256_and_si256(moved, _mm256_set1_epi32((1 << BITS) - 1))
        }
    }

    /// The scale that a whole super-block has.
    #[inline(always)]
    pub(super) fn one_scale<I: Simd<F32 = __m256>>(self, scale: F16) -> Scales<I> {
        of_runs(self, self.half(scale))
    }

    /// The first half-words of up to eight blocks, then anything.
    #[inline(always)]
    fn leading_half_words<F: Format>(self, blocks: &[F]) -> __m128i {
        let bytes: &[u8] = bytemuck::cast_slice(blocks);
        // 16 bytes that hold the half-word of block i as their own half-word i, so that all can be blended.
        let at = each::<__m128i, 8>(
            #[inline(always)]
            |i| {
                let start = i.min(blocks.len() - 1) * (size_of::<F>() - size_of::<u16>());
                self.load_128::<[u8; 16]>(bytes[start..start + 16].try_into().expect("16 bytes"))
            },
        );
        // SAFETY: every CPU with AVX2 has SSE4.1.
        unsafe {
            let (ab, cd) = (_mm_blend_epi16::<0x02>(at[0], at[1]), _mm_blend_epi16::<0x08>(at[2], at[3]));
            let (ef, gh) = (_mm_blend_epi16::<0x20>(at[4], at[5]), _mm_blend_epi16::<0x80>(at[6], at[7]));
            let (abcd, efgh) = (_mm_blend_epi16::<0x0c>(ab, cd), _mm_blend_epi16::<0xc0>(ef, gh));
            _mm_blend_epi16::<0xf0>(abcd, efgh)
        }
    }

    /// The half-precision scales that blocks of one, two or four runs begin with.
    #[inline(always)]
    pub(super) fn leading_scales<I: Simd<F32 = __m256>, F: Format>(self, blocks: &[F]) -> Scales<I> {
        let mut halves = self.leading_half_words(blocks);
        // SAFETY: `self` proves AVX2 and F16C.
        unsafe {
            for _ in 0..F::RUNS.ilog2() {
                halves = _mm_unpacklo_epi16(halves, halves);
            }
            of_runs(self, _mm256_cvtph_ps(halves))
        }
    }

    /// The half-precision scales and minima that eight blocks begin with.
    #[inline(always)]
    pub(super) fn leading_scales_and_minima<I: Simd<F32 = __m256>, F: Format>(
        self,
        blocks: &[F; 8],
    ) -> Scales<I> {
        let bytes: &[u8] = bytemuck::cast_slice(blocks);
        // As in `leading_half_words`.
        let at = each::<__m256i, 8>(
            #[inline(always)]
            |i| {
                let start = i * (size_of::<F>() - size_of::<u32>());
                self.load_256::<[u8; 32]>(bytes[start..start + 32].try_into().expect("32 bytes"))
            },
        );
        // SAFETY: `self` proves AVX2 and F16C.
        unsafe {
            let (ab, cd) =
                (_mm256_blend_epi32::<0x02>(at[0], at[1]), _mm256_blend_epi32::<0x08>(at[2], at[3]));
            let (ef, gh) =
                (_mm256_blend_epi32::<0x20>(at[4], at[5]), _mm256_blend_epi32::<0x80>(at[6], at[7]));
            let (abcd, efgh) = (_mm256_blend_epi32::<0x0c>(ab, cd), _mm256_blend_epi32::<0xc0>(ef, gh));
            let words = _mm256_blend_epi32::<0xf0>(abcd, efgh);
            // Of each four words first the low halves, then the high ones.
            let order = _mm256_broadcastsi128_si256(_mm_setr_epi8(
                0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15,
            ));
            let sorted = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_shuffle_epi8(words, order));
            Scales {
                scale: [_mm256_cvtph_ps(_mm256_castsi256_si128(sorted)), self.zero()],
                offset: [_mm256_cvtph_ps(_mm256_extracti128_si256::<1>(sorted)), self.zero()],
            }
        }
    }

    /// Halves of powers of two.
    #[inline(always)]
    pub(super) fn scales_mxfp4<I: Simd<F32 = __m256>>(self, blocks: &[Mxfp4; 8]) -> Scales<I> {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let exponents = _mm_and_si128(self.leading_half_words(blocks), _mm_set1_epi16(0xff));
            let exponents = _mm256_cvtepu16_epi32(exponents);
            let one = _mm256_set1_epi32(1);
            let normal = _mm256_slli_epi32::<23>(_mm256_sub_epi32(exponents, one));
            // 2^-128 and 2^-127 are subnormal.
            let subnormal = _mm256_sllv_epi32(_mm256_set1_epi32(1 << 21), exponents);
            let bits = _mm256_blendv_epi8(subnormal, normal, _mm256_cmpgt_epi32(exponents, one));
            of_runs(self, _mm256_castsi256_ps(bits))
        }
    }

    /// Halves of E4M3 numbers without a sign, of which 0x7f is zero.
    #[inline(always)]
    pub(super) fn scales_nvfp4<I: Simd<F32 = __m256>>(self, blocks: &[Nvfp4; 4]) -> Scales<I> {
        let words: [[u16; 2]; 4] = each(
            #[inline(always)]
            |i| blocks[i].groups,
        );
        // SAFETY: `self` proves AVX2.
        unsafe {
            let half = |byte: __m256i| {
                // Shifted to the place of an f32's exponent and mantissa; the product corrects the bias.
                let bits = _mm256_slli_epi32::<20>(_mm256_and_si256(byte, _mm256_set1_epi32(0x7f)));
                let value = _mm256_mul_ps(_mm256_castsi256_ps(bits), _mm256_set1_ps(2f32.powi(119)));
                let zero = _mm256_cmpeq_epi32(byte, _mm256_set1_epi32(0x7f));
                _mm256_andnot_ps(_mm256_castsi256_ps(zero), value)
            };
            let bytes = _mm256_cvtepu8_epi16(self.load_128(&words));
            let low = _mm256_and_si256(bytes, _mm256_set1_epi32(0xffff));
            of_halves(self, [half(low), half(_mm256_srli_epi32::<16>(bytes))])
        }
    }

    /// `scale` times the signed integers of 16 groups: the even ones belong to the first halves of runs.
    #[inline(always)]
    fn sixteen_groups(self, scale: __m256, groups: __m128i) -> [__m256; 2] {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let groups = _mm256_cvtepi8_epi16(groups);
            let first = _mm256_srai_epi32::<16>(_mm256_slli_epi32::<16>(groups));
            let second = _mm256_srai_epi32::<16>(groups);
            [self.multiples(scale, first), self.multiples(scale, second)]
        }
    }

    #[inline(always)]
    pub(super) fn scales_q2k<I: Simd<F32 = __m256>>(self, block: &Q2K) -> Scales<I> {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let (groups, nibble) = (self.load_128(&block.groups), _mm_set1_epi8(0x0f));
            let scales = _mm_and_si128(groups, nibble);
            let minima = _mm_and_si128(_mm_srli_epi16::<4>(groups), nibble);
            let min_scale = _mm256_xor_ps(self.half(block.min_scale), _mm256_set1_ps(-0.0));
            Scales {
                scale: self.sixteen_groups(self.half(block.scale), scales),
                offset: self.sixteen_groups(min_scale, minima),
            }
        }
    }

    #[inline(always)]
    pub(super) fn scales_q3k<I: Simd<F32 = __m256>>(self, block: &Q3K) -> Scales<I> {
        // The last bytes of the block: two of codes, the groups, the scale.
        let bytes = bytemuck::bytes_of(block);
        let (_, tail) = bytes.split_last_chunk::<16>().expect("a longer block");
        // SAFETY: `self` proves AVX2.
        unsafe {
            let tail = self.load_128(tail);
            let low = _mm_setr_epi8(2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9);
            let low = _mm_srlv_epi64(_mm_shuffle_epi8(tail, low), _mm_set_epi64x(4, 0));
            let high = _mm_setr_epi8(10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13);
            let high = _mm_srlv_epi32(_mm_shuffle_epi8(tail, high), _mm_setr_epi32(0, 2, 4, 6));
            let (low, high) =
                (_mm_and_si128(low, _mm_set1_epi8(0x0f)), _mm_and_si128(high, _mm_set1_epi8(0x03)));
            let groups = _mm_or_si128(low, _mm_slli_epi16::<4>(high));
            let groups = _mm_sub_epi8(groups, _mm_set1_epi8(32));
            of_halves(self, self.sixteen_groups(self.half(block.scale), groups))
        }
    }

    #[inline(always)]
    pub(super) fn scales_q6k<I: Simd<F32 = __m256>>(self, block: &Q6K) -> Scales<I> {
        of_halves(self, self.sixteen_groups(self.half(block.scale), self.load_128(&block.groups)))
    }

    /// The scales and minima of Q4_K and Q5_K, with which their blocks begin.
    #[inline(always)]
    pub(super) fn affine_scales<I: Simd<F32 = __m256>, F: Format>(self, block: &F) -> Scales<I> {
        let (header, _) = bytemuck::bytes_of(block).split_first_chunk::<16>().expect("a longer block");
        // SAFETY: `self` proves AVX2 and F16C.
        unsafe {
            // Two half-precision scales, then three words of four groups each; see `AffineGroups`. The words
            // of the result: scales of groups 0 to 3 and 4 to 7, minima of groups 0 to 3 and 4 to 7.
            let header = self.load_128(header);
            let low = _mm_shuffle_epi32::<0b11_10_11_01>(header);
            let low = _mm_srlv_epi32(low, _mm_setr_epi32(0, 0, 0, 4));
            let low = _mm_and_si128(low, _mm_setr_epi32(0x3f3f_3f3f, 0x0f0f_0f0f, 0x3f3f_3f3f, 0x0f0f_0f0f));
            let high = _mm_srli_epi32::<2>(_mm_shuffle_epi32::<0b10_00_01_00>(header));
            let groups =
                _mm_or_si128(low, _mm_and_si128(high, _mm_setr_epi32(0, 0x3030_3030, 0, 0x3030_3030)));
            let scales = _mm256_cvtepu8_epi32(groups);
            let minima = _mm256_cvtepu8_epi32(_mm_unpackhi_epi64(groups, groups));

            let header = _mm_cvtph_ps(header);
            let scale = _mm256_broadcastss_ps(header);
            let min_scale = _mm256_broadcastss_ps(_mm_xor_ps(_mm_movehdup_ps(header), _mm_set1_ps(-0.0)));
            Scales {
                scale: [self.multiples(scale, scales), self.zero()],
                offset: [self.multiples(min_scale, minima), self.zero()],
            }
        }
    }

    #[inline(always)]
    pub(super) fn scales_iq4xs<I: Simd<F32 = __m256>>(self, block: &Iq4Xs) -> Scales<I> {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let low = self.bit_fields::<4>(bytemuck::cast(block.low));
            let high = _mm256_slli_epi32::<4>(self.bit_fields::<2>(u32::from(block.high)));
            let levels = _mm256_sub_epi32(_mm256_or_si256(low, high), _mm256_set1_epi32(32));
            of_runs(self, self.multiples(self.half(block.scale), levels))
        }
    }

    /// The scales of runs whose levels are the highest four bits of a word each.
    #[inline(always)]
    pub(super) fn scales_of_words<I: Simd<F32 = __m256>>(
        self,
        scale: F16,
        unit: f32,
        words: __m256i,
    ) -> Scales<I> {
        // SAFETY: `self` proves AVX2.
        let levels = unsafe { _mm256_srli_epi32::<28>(words) };
        of_runs(self, self.odd_multiples(scale, unit, levels))
    }

    /// The scales of halves of runs whose levels are the nibbles of eight bytes.
    #[inline(always)]
    pub(super) fn scales_of_nibbles<I: Simd<F32 = __m256>>(
        self,
        scale: F16,
        unit: f32,
        groups: &[u16; 4],
    ) -> Scales<I> {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let bytes = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(bytemuck::cast(*groups)));
            let first = _mm256_and_si256(bytes, _mm256_set1_epi32(0x0f));
            let second = _mm256_srli_epi32::<4>(bytes);
            of_halves(self, [self.odd_multiples(scale, unit, first), self.odd_multiples(scale, unit, second)])
        }
    }

    #[inline(always)]
    pub(super) fn scales_iq3s<I: Simd<F32 = __m256>>(self, block: &Iq3S) -> Scales<I> {
        let levels = self.bit_fields::<4>(bytemuck::cast(block.groups));
        of_runs(self, self.odd_multiples(block.scale, 1.0, levels))
    }

    #[inline(always)]
    pub(super) fn scales_iq1s<I: Simd<F32 = __m256>>(self, block: &Iq1S) -> Scales<I> {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let runs = _mm256_cvtepu16_epi32(self.load_128(&block.runs));
            let levels = _mm256_and_si256(_mm256_srli_epi32::<12>(runs), _mm256_set1_epi32(7));
            of_runs(self, self.odd_multiples(block.scale, 0.125, levels))
        }
    }

    #[inline(always)]
    pub(super) fn scales_iq1m<I: Simd<F32 = __m256>>(self, block: &Iq1M) -> Scales<I> {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let groups = _mm_cvtsi64_si128(bytemuck::cast(block.groups));
            let twice = _mm256_cvtepu16_epi32(_mm_unpacklo_epi16(groups, groups));
            let first = _mm256_srlv_epi32(twice, _mm256_setr_epi32(0, 6, 0, 6, 0, 6, 0, 6));
            let (second, mask) = (_mm256_srli_epi32::<3>(first), _mm256_set1_epi32(7));
            let (first, second) = (_mm256_and_si256(first, mask), _mm256_and_si256(second, mask));
            let scale = block.scale();
            of_halves(
                self,
                [self.odd_multiples(scale, 0.125, first), self.odd_multiples(scale, 0.125, second)],
            )
        }
    }
}
