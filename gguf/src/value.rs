//! Metadata values, typed as the file types them, so that a file can be written back unchanged.

use crate::{Error, cursor::Cursor, field::Put};

/// Arrays of arrays are read and written this deep; nobody is known to write deeper ones.
const MAX_DEPTH: usize = 4;

/// The number of the array type, the only one that nests.
const ARRAY: u32 = 9;

/// The ONE list of element types: number in the file, variant, Rust type, smallest size in the file,
/// and how one is read.
macro_rules! for_each_element {
    ($callback:ident) => {
        $callback! {
            (0, U8, u8, 1, |c, _k| Ok(c.array::<1>(VALUE)?[0])),
            (1, I8, i8, 1, |c, _k| Ok(i8::from_le_bytes(c.array(VALUE)?))),
            (2, U16, u16, 2, |c, _k| Ok(u16::from_le_bytes(c.array(VALUE)?))),
            (3, I16, i16, 2, |c, _k| Ok(i16::from_le_bytes(c.array(VALUE)?))),
            (4, U32, u32, 4, |c, _k| Ok(u32::from_le_bytes(c.array(VALUE)?))),
            (5, I32, i32, 4, |c, _k| Ok(i32::from_le_bytes(c.array(VALUE)?))),
            (6, F32, f32, 4, |c, _k| Ok(f32::from_le_bytes(c.array(VALUE)?))),
            (7, Bool, bool, 1, |c, k| boolean(c.array::<1>(VALUE)?[0], k)),
            (8, String, String, 8, |c, _k| c.string(VALUE)),
            (10, U64, u64, 8, |c, _k| Ok(u64::from_le_bytes(c.array(VALUE)?))),
            (11, I64, i64, 8, |c, _k| Ok(i64::from_le_bytes(c.array(VALUE)?))),
            (12, F64, f64, 8, |c, _k| Ok(f64::from_le_bytes(c.array(VALUE)?))),
        }
    };
}

/// What a value is called in errors.
const VALUE: &str = "a metadata value";

macro_rules! define_values {
    ($(($id:literal, $variant:ident, $ty:ty, $least:literal, $read:expr)),* $(,)?) => {
        /// One metadata value.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)] // the variants are named after their types
        pub enum Value {
            $($variant($ty),)*
            Array(Array),
        }

        /// A metadata array: values of one type.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum Array {
            $($variant(Vec<$ty>),)*
            Array(Vec<Array>),
        }

        impl Value {
            /// What the type of this value is called in Rust; `array` for arrays.
            pub fn type_name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => stringify!($ty),)*
                    Self::Array(_) => "array",
                }
            }

            /// The number that the file format gives to the type of this value.
            pub fn type_id(&self) -> u32 {
                match self {
                    $(Self::$variant(_) => $id,)*
                    Self::Array(_) => ARRAY,
                }
            }

            pub(crate) fn read(cursor: &mut Cursor<'_>, key: &str) -> Result<Self, Error> {
                match cursor.u32("a value type")? {
                    $($id => {
                        let read: fn(&mut Cursor<'_>, &str) -> Result<$ty, Error> = $read;
                        read(cursor, key).map(Self::$variant)
                    })*
                    ARRAY => Array::read(cursor, key, 1).map(Self::Array),
                    id => Err(Error::ValueType { key: key.to_owned(), id }),
                }
            }

            /// Appends the value as it stands in a file: its type, then itself.
            pub(crate) fn write(&self, out: &mut Vec<u8>, key: &str) -> Result<(), Error> {
                out.put(&self.type_id());
                match self {
                    $(Self::$variant(value) => out.put(value),)*
                    Self::Array(array) => array.write(out, key, 1)?,
                }
                Ok(())
            }
        }

        impl Array {
            /// What the type of the elements is called in Rust; `array` for arrays.
            pub fn element_type_name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => stringify!($ty),)*
                    Self::Array(_) => "array",
                }
            }

            /// The element at `index`, if there are so many.
            pub fn get(&self, index: usize) -> Option<Value> {
                match self {
                    $(Self::$variant(values) => values.get(index).cloned().map(Value::$variant),)*
                    Self::Array(values) => values.get(index).cloned().map(Value::Array),
                }
            }

            /// The number that the file format gives to the type of the elements.
            pub fn element_type_id(&self) -> u32 {
                match self {
                    $(Self::$variant(_) => $id,)*
                    Self::Array(_) => ARRAY,
                }
            }

            /// How many elements there are.
            pub fn len(&self) -> usize {
                match self {
                    $(Self::$variant(values) => values.len(),)*
                    Self::Array(values) => values.len(),
                }
            }

            fn read(cursor: &mut Cursor<'_>, key: &str, depth: usize) -> Result<Self, Error> {
                check_depth(depth, key)?;
                match cursor.u32("an array's element type")? {
                    $($id => {
                        let read: fn(&mut Cursor<'_>, &str) -> Result<$ty, Error> = $read;
                        let len = cursor.count(LENGTH, $least)?;
                        (0..len).map(|_| read(cursor, key)).collect::<Result<_, _>>().map(Self::$variant)
                    })*
                    ARRAY => {
                        let len = cursor.count(LENGTH, EMPTY_ARRAY)?;
                        (0..len)
                            .map(|_| Self::read(cursor, key, depth + 1))
                            .collect::<Result<_, _>>()
                            .map(Self::Array)
                    }
                    id => Err(Error::ValueType { key: key.to_owned(), id }),
                }
            }

            fn write(&self, out: &mut Vec<u8>, key: &str, depth: usize) -> Result<(), Error> {
                check_depth(depth, key)?;
                out.put(&self.element_type_id());
                out.put(&(self.len() as u64));
                match self {
                    $(Self::$variant(values) => values.iter().for_each(|value| out.put(value)),)*
                    Self::Array(values) => {
                        values.iter().try_for_each(|array| array.write(out, key, depth + 1))?;
                    }
                }
                Ok(())
            }
        }
    };
}
for_each_element!(define_values);

const LENGTH: &str = "an array's length";

/// An array without elements still states their type and number.
const EMPTY_ARRAY: usize = 4 + 8;

impl Array {
    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn check_depth(depth: usize, key: &str) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(Error::Depth { key: key.to_owned(), limit: MAX_DEPTH });
    }
    Ok(())
}

fn boolean(byte: u8, key: &str) -> Result<bool, Error> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        found => Err(Error::Bool { key: key.to_owned(), found }),
    }
}

impl Value {
    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if this is an integer of any width that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::U8(v) => Some(v.into()),
            Self::U16(v) => Some(v.into()),
            Self::U32(v) => Some(v.into()),
            Self::U64(v) => Some(v),
            Self::I8(v) => v.try_into().ok(),
            Self::I16(v) => v.try_into().ok(),
            Self::I32(v) => v.try_into().ok(),
            Self::I64(v) => v.try_into().ok(),
            _ => None,
        }
    }
}
