//! Bad input gives an error that names the value and what was expected.

use warpdot_cpu::{
    Error, Experts, Isa, Kernel, Matrix, Numerics, Problem, Product, Routine, Tensor, TensorMut, Workspace,
    dot, matmul, quantize,
};
use warpdot_formats::{Format, GgmlType, Q4_0, Q6K};

/// The message for a product of zero weights.
fn message<F: Format>(problem: Problem, weights: usize, x: usize, y: usize) -> String {
    let (weights, x, mut y) = (vec![F::zeroed(); weights], vec![0.0; x], vec![0.0; y]);
    matmul(Isa::best(), Numerics::Fast, &mut Workspace::new(), problem, &weights, &x, &mut y)
        .expect_err("bad input")
        .to_string()
}

#[test]
fn shapes() {
    let problem = |m, n, k| Problem { m, n, k };
    for (what, bad) in [("m", problem(0, 1, 32)), ("n", problem(1, 0, 32)), ("k", problem(1, 1, 0))] {
        assert_eq!(
            message::<Q4_0>(bad, 1, 32, 1),
            format!("{what} is 0: every dimension of a product must be at least 1")
        );
    }
    assert_eq!(
        message::<Q6K>(problem(1, 1, 384), 1, 384, 1),
        "k = 384 is not a multiple of 256, the weights in a block of Q6_K"
    );
    for huge in
        [problem(usize::MAX, 2, 32), problem(1 << 30, 1 << 30, 1 << 30), problem(1, usize::MAX / 16, 32)]
    {
        let found = message::<Q4_0>(huge, 1, 32, 1);
        assert!(
            found.starts_with(&format!("m * n * k = {} * {} * {} overflows", huge.m, huge.n, huge.k)),
            "{found}"
        );
    }
}

#[test]
fn lengths() {
    let problem = Problem { m: 2, n: 3, k: 64 };
    for (weights, x, y, expected) in [
        (5, 128, 6, "weights (n * k / block) has 5 elements where 6 were expected"),
        (7, 128, 6, "weights (n * k / block) has 7 elements where 6 were expected"),
        (6, 127, 6, "x (m * k) has 127 elements where 128 were expected"),
        (6, 129, 6, "x (m * k) has 129 elements where 128 were expected"),
        (6, 128, 5, "y (m * n) has 5 elements where 6 were expected"),
        (6, 128, 7, "y (m * n) has 7 elements where 6 were expected"),
    ] {
        assert_eq!(message::<Q4_0>(problem, weights, x, y), expected);
    }
    let error = dot::<Q4_0>(Isa::best(), Numerics::Fast, &mut Workspace::new(), &[], &[]);
    assert_eq!(error, Err(Error::ZeroSize { what: "k" }));
    assert!(quantize(Isa::best(), &[0.0; 33], &mut []).is_err());
}

#[test]
fn bytes() {
    let kernel = Kernel { isa: Isa::best(), routine: Routine::Gemv };
    let problem = Problem { m: 1, n: 2, k: 32 };
    let bytes = [0u16; 19];
    let bytes: &[u8] = bytemuck::cast_slice(&bytes);
    let run = |problem, bytes| {
        kernel.matmul_bytes(GgmlType::Q4_0, &mut Workspace::new(), problem, bytes, &[0.0; 32], &mut [0.0; 2])
    };
    assert_eq!(run(problem, &bytes[..36]), Ok(()));
    assert_eq!(
        run(problem, &bytes[..35]).expect_err("too short").to_string(),
        "weights (bytes of n rows) has 35 elements where 36 were expected"
    );
    assert!(run(problem, bytes).is_err());
    let error = run(problem, &bytes[1..37]).expect_err("odd address").to_string();
    assert!(error.ends_with("blocks of Q4_0 need an even one"), "{error}");
    let huge = Problem { m: 1, n: usize::MAX / 32, k: 32 };
    assert!(matches!(run(huge, bytes), Err(Error::Length { .. } | Error::Overflow { .. })));
}

#[test]
fn instruction_sets() {
    let names: Vec<_> = Isa::available().map(Isa::name).collect();
    assert_eq!(names.last(), Some(&"portable"));
    for isa in Isa::available() {
        assert_eq!(Isa::demand(isa.name()), Ok(isa));
    }
    assert_eq!(Isa::demand("avx3"), Err(Error::UnknownIsa { name: "avx3".into(), available: names }));
}

#[test]
fn kernel_ids() {
    let isa = Isa::demand("portable").expect("always there");
    let id = |m| Kernel::choose(isa, Numerics::Fast, Problem { m, n: 64, k: 256 }).id(GgmlType::Q4K);
    assert_eq!(id(1), "cpu-portable-gemv-q4k");
    assert_eq!(id(100), "cpu-portable-gemm-q4k");
}

#[test]
fn tiles_elsewhere() {
    let isa = Isa::demand("portable").expect("always there");
    let (kernel, problem) = (Kernel { isa, routine: Routine::Tiles }, Problem { m: 1, n: 1, k: 32 });
    let w = [Q4_0::quantize(&[0.0; 32])];
    let expected = Err(Error::NoTiles { isa: "portable" });
    assert_eq!(kernel.matmul(&mut Workspace::new(), problem, &w, &[0.0; 32], &mut [0.0]), expected);
    let matrix = Matrix::Blocks { ty: GgmlType::Q4_0, n: 1, k: 32, bytes: bytemuck::cast_slice(&w) };
    let (x, mut y) = ([0.0f32; 32], [0.0f32]);
    let (x, y) = (Tensor::new(&x[..], 1, 32).expect("x"), TensorMut::new(&mut y[..], 1, 1).expect("y"));
    let experts = Experts::new(matrix, 1, &[0]).expect("one expert");
    assert_eq!(experts.compute_with(kernel, &mut Workspace::new(), Product::new(x, y)), expected);
}
