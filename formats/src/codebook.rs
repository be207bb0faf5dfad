//! A codebook, in the order in which a search goes through it.

/// Points with integer coordinates, in the order of their norms; `LEVELS` different coordinates, `CLASSES` different
/// norms.
pub(crate) struct Codebook<
    const DIMENSION: usize,
    const LEVELS: usize,
    const POINTS: usize,
    const CLASSES: usize,
> {
    /// What the levels stand for.
    pub(crate) values: [f32; LEVELS],
    /// The levels of each half of the coordinates as one number of base `LEVELS`, the first coordinate lowest.
    pub(crate) halves: [[u8; 2]; POINTS],
    /// The points' own places, as floats, to be kept in lanes.
    pub(crate) places: [f32; POINTS],
    /// The points' places in the packed codebook.
    pub(crate) indices: [u16; POINTS],
    /// The norms, and where the points of each begin.
    pub(crate) classes: [(f32, u16); CLASSES],
    /// The mean magnitude of a coordinate.
    pub(crate) mean: f32,
}

/// The most that [`Codebook::halves`] can tell apart: four coordinates of three levels. (Two of eight are fewer.)
pub(crate) const HALVES: usize = 81;

impl<const DIMENSION: usize, const LEVELS: usize, const POINTS: usize, const CLASSES: usize>
    Codebook<DIMENSION, LEVELS, POINTS, CLASSES>
{
    /// The codebook `packed` (see [`crate::codebooks`]) with `values` for the levels.
    pub(crate) const fn new(packed: &[u16; POINTS], values: [i8; LEVELS]) -> Self {
        const NORMS: usize = 1 << 14;
        assert!(LEVELS.pow(DIMENSION as u32 / 2) <= HALVES);
        let width = 16 / DIMENSION as u32;
        // Sorted by counting: how many points have each norm, then where the points of each norm begin.
        let mut begins = [0u16; NORMS + 1];
        let mut unsorted = [([0; 2], 0); POINTS];
        let mut total = 0;
        let mut i = 0;
        while i < POINTS {
            let (mut halves, mut norm) = ([0; 2], 0);
            let mut d = DIMENSION;
            while d > 0 {
                d -= 1;
                let level = (packed[i] >> (d as u32 * width)) as usize & ((1 << width) - 1);
                let value = values[level] as i32;
                let half = d / (DIMENSION / 2);
                halves[half] = halves[half] * LEVELS as u8 + level as u8;
                norm += value * value;
                total += value.abs();
            }
            unsorted[i] = (halves, norm as usize);
            begins[norm as usize + 1] += 1;
            i += 1;
        }
        let mut sorted = Self {
            values: [0.0; LEVELS],
            halves: [[0; 2]; POINTS],
            places: [0.0; POINTS],
            indices: [0; POINTS],
            classes: [(0.0, 0); CLASSES],
            mean: total as f32 / (POINTS * DIMENSION) as f32,
        };
        i = 0;
        while i < LEVELS {
            sorted.values[i] = values[i] as f32;
            i += 1;
        }
        let (mut norm, mut class) = (0, 0);
        while norm < NORMS {
            if begins[norm + 1] > 0 {
                sorted.classes[class] = (norm as f32, begins[norm]);
                class += 1;
            }
            begins[norm + 1] += begins[norm];
            norm += 1;
        }
        assert!(class == CLASSES, "the number of different norms");
        i = 0;
        while i < POINTS {
            let (halves, norm) = unsorted[i];
            let place = begins[norm] as usize;
            begins[norm] += 1;
            sorted.halves[place] = halves;
            sorted.places[place] = place as f32;
            sorted.indices[place] = i as u16;
            i += 1;
        }
        sorted
    }

    /// The largest magnitude of a coordinate.
    pub(crate) fn largest(&self) -> f32 {
        self.values.iter().fold(0.0, |largest, value| value.abs().max(largest))
    }

    /// Coordinate `d` of the point at `place`.
    #[inline(always)]
    pub(crate) fn coordinate(&self, place: usize, d: usize) -> f32 {
        let half = DIMENSION / 2;
        self.values[usize::from(self.halves[place][d / half]) / LEVELS.pow((d % half) as u32) % LEVELS]
    }

    /// The places of the points of class `class`.
    #[inline(always)]
    pub(crate) fn class(&self, class: usize) -> core::ops::Range<usize> {
        let end = if class + 1 < CLASSES { usize::from(self.classes[class + 1].1) } else { POINTS };
        usize::from(self.classes[class].1)..end
    }
}
