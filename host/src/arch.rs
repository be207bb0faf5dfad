//! Which PTX runs on which device.

use std::fmt;
use std::str::FromStr;

/// What a device can do: 9.0 for an H100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComputeCapability {
    /// The generation.
    pub major: u32,
    /// The chip within the generation.
    pub minor: u32,
}

impl fmt::Display for ComputeCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// How far code for an architecture travels. In ascending order of how special it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suffix {
    /// No suffix: to every later chip.
    Plain,
    /// `f`: to later chips of the same family.
    Family,
    /// `a`: nowhere, it uses instructions of this one chip.
    Specific,
}

/// An architecture that PTX is compiled for: `sm_80`, `sm_90a`, `sm_100f`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Arch {
    major: u32,
    minor: u32,
    suffix: Suffix,
}

/// The chips that have an architecture of their own, from Turing on.
const CHIPS: [(u32, u32); 12] =
    [(7, 5), (8, 0), (8, 6), (8, 7), (8, 8), (8, 9), (9, 0), (10, 0), (10, 3), (11, 0), (12, 0), (12, 1)];

impl Arch {
    /// The compute capability it was made for.
    pub fn compute_capability(self) -> ComputeCapability {
        ComputeCapability { major: self.major, minor: self.minor }
    }

    /// How far it travels.
    pub fn suffix(self) -> Suffix {
        self.suffix
    }

    /// Whether a device of this compute capability can run PTX for this architecture.
    pub fn runs_on(self, device: ComputeCapability) -> bool {
        let own = self.compute_capability();
        match self.suffix {
            Suffix::Plain => device >= own,
            // Older drivers call the chip 10.1 that CUDA 13 renumbered to 11.0: no relative of 10.0.
            Suffix::Family if (device.major, device.minor) == (10, 1) => false,
            Suffix::Family => device.major == own.major && device >= own,
            Suffix::Specific => device == own,
        }
    }

    /// The best of `archs` for a device: the most specific one that runs there, and of those the latest.
    pub fn best(device: ComputeCapability, archs: impl IntoIterator<Item = Arch>) -> Option<Arch> {
        archs
            .into_iter()
            .filter(|arch| arch.runs_on(device))
            .max_by_key(|arch| (arch.suffix, arch.compute_capability()))
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = match self.suffix {
            Suffix::Plain => "",
            Suffix::Family => "f",
            Suffix::Specific => "a",
        };
        write!(f, "sm_{}{}{suffix}", self.major, self.minor)
    }
}

/// A string that names no known architecture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no known GPU architecture; expected sm_ and one of {chips}, with a suffix a from sm_90 or f from \
     sm_100 on",
    chips = chips()
)]
pub struct UnknownArch(pub String);

fn chips() -> String {
    CHIPS.map(|(major, minor)| format!("{major}{minor}")).join(", ")
}

impl FromStr for Arch {
    type Err = UnknownArch;

    fn from_str(text: &str) -> Result<Self, UnknownArch> {
        CHIPS
            .into_iter()
            .flat_map(|(major, minor)| {
                let suffixes: &[Suffix] = match major {
                    ..9 => &[Suffix::Plain],
                    9 => &[Suffix::Plain, Suffix::Specific],
                    _ => &[Suffix::Plain, Suffix::Family, Suffix::Specific],
                };
                suffixes.iter().map(move |&suffix| Arch { major, minor, suffix })
            })
            .find(|arch| arch.to_string() == text)
            .ok_or_else(|| UnknownArch(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arch(text: &str) -> Arch {
        text.parse().unwrap()
    }

    fn device(major: u32, minor: u32) -> ComputeCapability {
        ComputeCapability { major, minor }
    }

    #[test]
    fn parses_what_it_prints() {
        for (text, major, minor, suffix) in [
            ("sm_75", 7, 5, Suffix::Plain),
            ("sm_89", 8, 9, Suffix::Plain),
            ("sm_90", 9, 0, Suffix::Plain),
            ("sm_90a", 9, 0, Suffix::Specific),
            ("sm_100", 10, 0, Suffix::Plain),
            ("sm_100f", 10, 0, Suffix::Family),
            ("sm_103a", 10, 3, Suffix::Specific),
            ("sm_121", 12, 1, Suffix::Plain),
        ] {
            assert_eq!(arch(text), Arch { major, minor, suffix });
            assert_eq!(arch(text).to_string(), text);
        }
    }

    #[test]
    fn refuses_what_nobody_knows() {
        for text in [
            "", "sm_", "90", "sm_9", "sm_77", "sm_101", "sm_130", "sm_75a", "sm_90f", "sm_90b", "sm_90aa",
            "SM_90", " sm_90",
        ] {
            let error = text.parse::<Arch>().unwrap_err();
            assert_eq!(error, UnknownArch(text.to_owned()));
            assert!(error.to_string().contains(&format!("{text:?}")) && error.to_string().contains("121"));
        }
    }

    #[test]
    fn runs_where_it_may() {
        let devices = [
            (7, 5),
            (8, 0),
            (8, 6),
            (8, 9),
            (9, 0),
            (10, 0),
            (10, 1),
            (10, 3),
            (11, 0),
            (12, 0),
            (12, 1),
            (13, 0),
        ];
        // One column per device, as above.
        for (text, runs) in [
            ("sm_75", "yyyyyyyyyyyy"),
            ("sm_80", "-yyyyyyyyyyy"),
            ("sm_89", "---yyyyyyyyy"),
            ("sm_90", "----yyyyyyyy"),
            ("sm_90a", "----y-------"),
            ("sm_100", "-----yyyyyyy"),
            ("sm_100a", "-----y------"),
            ("sm_100f", "-----y-y----"),
            ("sm_103f", "-------y----"),
            ("sm_110f", "--------y---"),
            ("sm_120", "---------yyy"),
            ("sm_120f", "---------yy-"),
            ("sm_120a", "---------y--"),
            ("sm_121a", "----------y-"),
        ] {
            for (&(major, minor), expected) in devices.iter().zip(runs.chars()) {
                let answer = arch(text).runs_on(device(major, minor));
                assert_eq!(answer, expected == 'y', "{text} on {major}.{minor}");
            }
        }
    }

    #[test]
    fn picks_the_most_specific() {
        let shipped =
            ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_90a", "sm_100f", "sm_120", "sm_120a"].map(arch);
        for ((major, minor), best) in [
            ((7, 0), None),
            ((7, 5), Some("sm_75")),
            ((8, 0), Some("sm_80")),
            ((8, 7), Some("sm_86")),
            ((9, 0), Some("sm_90a")),
            ((10, 0), Some("sm_100f")),
            ((10, 1), Some("sm_90")),
            ((10, 3), Some("sm_100f")),
            ((11, 0), Some("sm_90")),
            ((12, 0), Some("sm_120a")),
            ((12, 1), Some("sm_120")),
            ((13, 0), Some("sm_120")),
        ] {
            let picked = Arch::best(device(major, minor), shipped);
            assert_eq!(picked, best.map(arch), "{major}.{minor}");
            assert_eq!(Arch::best(device(major, minor), shipped.into_iter().rev()), picked);
        }
    }
}
