//! Little-endian fields, written.

/// Somewhere that fields can be appended to.
pub(crate) trait Put {
    fn put<T: Field + ?Sized>(&mut self, field: &T);
}

impl Put for Vec<u8> {
    fn put<T: Field + ?Sized>(&mut self, field: &T) {
        field.append_to(self);
    }
}

/// Whatever a file's header is made of.
pub(crate) trait Field {
    fn append_to(&self, out: &mut Vec<u8>);
}

macro_rules! numbers {
    ($($ty:ty),*) => {
        $(impl Field for $ty {
            fn append_to(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        })*
    };
}
numbers!(u8, i8, u16, i16, u32, i32, f32, u64, i64, f64);

impl Field for bool {
    fn append_to(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl Field for str {
    fn append_to(&self, out: &mut Vec<u8>) {
        out.put(&(self.len() as u64));
        out.extend_from_slice(self.as_bytes());
    }
}

impl Field for String {
    fn append_to(&self, out: &mut Vec<u8>) {
        out.put(self.as_str());
    }
}
