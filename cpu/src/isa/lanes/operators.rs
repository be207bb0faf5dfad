/// Implements the operators that [`Word`](warpdot_formats::Word) and [`Number`](warpdot_formats::Number) demand by
/// functions of the same names that the types have, and `splat`.
macro_rules! operators {
    ($words:ident, $numbers:ident) => {
        operators!(@both $words u32: BitAnd bitand and, BitXor bitxor xor, Add add add, Sub sub sub);
        operators!(@vectors $words: BitOr bitor or);
        operators!(@scalars $words u32: Shl shl shl, Shr shr shr);
        operators!(@splat $words u32: Mul mul mul);
        operators!(@both $numbers f32: Mul mul mul);
        operators!(@splat $numbers f32: Add add add, Sub sub sub);

        impl std::ops::Neg for $numbers {
            type Output = Self;

            #[inline(always)]
            fn neg(self) -> Self {
                self.negative()
            }
        }

        impl warpdot_formats::Number for $numbers {
            #[inline(always)]
            fn splat_like(self, value: f32) -> Self {
                Self::splat(value)
            }
        }
    };
    (@both $type:ident $scalar:ident: $($trait:ident $method:ident $function:ident),*) => {
        operators!(@vectors $type: $($trait $method $function),*);
        operators!(@splat $type $scalar: $($trait $method $function),*);
    };
    (@vectors $type:ident: $($trait:ident $method:ident $function:ident),*) => {$(
        impl std::ops::$trait for $type {
            type Output = Self;

            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                self.$function(other)
            }
        }
    )*};
    (@splat $type:ident $scalar:ident: $($trait:ident $method:ident $function:ident),*) => {$(
        impl std::ops::$trait<$scalar> for $type {
            type Output = Self;

            #[inline(always)]
            fn $method(self, other: $scalar) -> Self {
                self.$function(Self::splat(other))
            }
        }
    )*};
    (@scalars $type:ident $scalar:ident: $($trait:ident $method:ident $function:ident),*) => {$(
        impl std::ops::$trait<$scalar> for $type {
            type Output = Self;

            #[inline(always)]
            fn $method(self, other: $scalar) -> Self {
                self.$function(other)
            }
        }
    )*};
}
