//! Products by ggml's CPU backend.

use std::ffi::CStr;
use std::ptr::{self, NonNull};
use std::thread;

use llama_cpp_sys_2 as sys;
use warpdot_cpu::Problem;
use warpdot_measure::timing::Contender;

use super::id;
use crate::operands::{Operands, Peer};

/// A kind of memory for weights: plain blocks, or one that repacks them for certain kernels.
#[derive(Clone, Copy)]
pub struct Buffers(sys::ggml_backend_buffer_type_t);

impl Buffers {
    /// All kinds that the CPU backend has, plain blocks first.
    pub fn all() -> Vec<Self> {
        super::init();
        let mut all = vec![Self::plain()];
        // SAFETY: the backend is linked, so its registry has a device; the function of that name has this type and
        // gives null or an array that ends with null.
        unsafe {
            let registry = sys::ggml_backend_cpu_reg();
            let get = sys::ggml_backend_reg_get_proc_address(
                registry,
                c"ggml_backend_dev_get_extra_bufts".as_ptr(),
            );
            if get.is_null() {
                return all;
            }
            type Get = unsafe extern "C" fn(sys::ggml_backend_dev_t) -> *mut sys::ggml_backend_buffer_type_t;
            let get: Get = std::mem::transmute(get);
            let mut kinds = get(device());
            while !kinds.is_null() && !(*kinds).is_null() {
                all.push(Self(*kinds));
                kinds = kinds.add(1);
            }
        }
        all
    }

    fn plain() -> Self {
        // SAFETY: has no conditions.
        Self(unsafe { sys::ggml_backend_cpu_buffer_type() })
    }

    /// ggml's name for it.
    pub fn name(self) -> String {
        // SAFETY: a valid kind, whose name is a static string.
        unsafe { CStr::from_ptr(sys::ggml_backend_buft_name(self.0)) }.to_string_lossy().into_owned()
    }

    /// Whether ggml multiplies by weights of a format in this memory.
    fn supports(self, operands: &Operands) -> bool {
        let Some(context) = Context::new(4) else { return false };
        // SAFETY: tensors of a live context without data, and a buffer of no bytes, which the check looks at only
        // for its kind.
        unsafe {
            let (w, x) = context.operands(operands);
            let buffer = sys::ggml_backend_buft_alloc_buffer(self.0, 0);
            if buffer.is_null() {
                return false;
            }
            (*w).buffer = buffer;
            let y = sys::ggml_mul_mat(context.0.as_ptr(), w, x);
            let supported = sys::ggml_backend_dev_supports_op(device(), y);
            sys::ggml_backend_buffer_free(buffer);
            supported
        }
    }
}

/// The CPU.
fn device() -> sys::ggml_backend_dev_t {
    // SAFETY: the CPU backend is linked, and has one device.
    unsafe { sys::ggml_backend_reg_dev_get(sys::ggml_backend_cpu_reg(), 0) }
}

/// Descriptions of tensors and graphs, not their data.
struct Context(NonNull<sys::ggml_context>);

impl Context {
    /// Nodes of a graph are at most as many.
    const GRAPH: usize = 8;

    fn new(tensors: usize) -> Option<Self> {
        // SAFETY: has no conditions; the context allocates its own memory.
        let context = unsafe {
            let graph = sys::ggml_graph_overhead_custom(Self::GRAPH, false);
            let size = tensors * (sys::ggml_tensor_overhead() + graph);
            sys::ggml_init(sys::ggml_init_params {
                mem_size: size,
                mem_buffer: ptr::null_mut(),
                no_alloc: true,
            })
        };
        NonNull::new(context).map(Self)
    }

    /// Tensors W and X, without data.
    unsafe fn operands(&self, operands: &Operands) -> (*mut sys::ggml_tensor, *mut sys::ggml_tensor) {
        let Problem { m, n, k } = operands.problem;
        // SAFETY: the context is live, and has room for as many tensors as it was made for.
        unsafe {
            (
                sys::ggml_new_tensor_2d(self.0.as_ptr(), id(operands.ty), k as i64, n as i64),
                sys::ggml_new_tensor_2d(self.0.as_ptr(), sys::GGML_TYPE_F32, k as i64, m as i64),
            )
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: made by `ggml_init`, and freed once.
        unsafe { sys::ggml_free(self.0.as_ptr()) }
    }
}

/// ggml's kernels on copies of the weights.
pub struct MatMul {
    kernel: String,
    backend: sys::ggml_backend_t,
    threads: sys::ggml_threadpool_t,
    buffers: Vec<sys::ggml_backend_buffer_t>,
    graphs: Vec<*mut sys::ggml_cgraph>,
    y: *mut sys::ggml_tensor,
    outputs: usize,
    rounded_together: usize,
    next: usize,
    _context: Context,
}

impl MatMul {
    /// `None` if ggml cannot multiply by weights of this format in this kind of memory.
    ///
    /// # Panics
    /// If ggml has not enough memory.
    pub fn new(operands: &Operands, copies: usize, kind: Buffers, threads: usize) -> Option<Self> {
        if !super::has(operands.ty) || !kind.supports(operands) {
            return None;
        }
        let context = Context::new(4 * copies + 4).expect("memory for tensors");
        let raw = context.0.as_ptr();
        // SAFETY: all tensors belong to the context, which lives as long as `Self`. A kind's buffer is as large as
        // the kind says, and gets whole tensors of exactly the sizes of the slices. Threads and backend are freed
        // by `drop`, the backend first.
        unsafe {
            let backend = sys::ggml_backend_cpu_init();
            let mut params = sys::ggml_threadpool_params_default(threads as i32);
            let pool = sys::ggml_threadpool_new(&mut params);
            assert!(!backend.is_null() && !pool.is_null());
            sys::ggml_backend_cpu_set_n_threads(backend, threads as i32);
            sys::ggml_backend_cpu_set_threadpool(backend, pool);

            let (first, x) = context.operands(operands);
            let weights: Vec<_> = (0..copies)
                .map(|copy| if copy == 0 { first } else { sys::ggml_dup_tensor(raw, first) })
                .collect();
            let mut buffers = Vec::new();
            for &w in &weights {
                buffers.push(place(w, kind.0));
                sys::ggml_backend_buffer_set_usage(
                    buffers[buffers.len() - 1],
                    sys::GGML_BACKEND_BUFFER_USAGE_WEIGHTS,
                );
                sys::ggml_backend_tensor_set(w, operands.weights.as_ptr().cast(), 0, operands.weights.len());
            }
            buffers.push(place(x, Buffers::plain().0));
            sys::ggml_backend_tensor_set(x, operands.x.as_ptr().cast(), 0, size_of_val(&operands.x[..]));

            let products: Vec<_> = weights.iter().map(|w| sys::ggml_mul_mat(raw, *w, x)).collect();
            // All results go to one place, as ours do.
            let shared = place(products[0], Buffers::plain().0);
            buffers.push(shared);
            for y in &products[1..] {
                sys::ggml_backend_tensor_alloc(shared, *y, (*products[0]).data);
            }
            let graphs = products.iter().map(|y| {
                let graph = sys::ggml_new_graph_custom(raw, Context::GRAPH, false);
                sys::ggml_build_forward_expand(graph, *y);
                graph
            });
            Some(Self {
                kernel: kind.name(),
                backend,
                threads: pool,
                buffers,
                graphs: graphs.collect(),
                y: products[0],
                outputs: operands.problem.m * operands.problem.n,
                rounded_together: operands.rounded_together_by_ggml(),
                next: 0,
                _context: context,
            })
        }
    }
}

/// A buffer with a tensor in it.
///
/// # Safety
/// The tensor's context and the kind of memory must be live, and the tensor without data.
unsafe fn place(
    tensor: *mut sys::ggml_tensor,
    kind: sys::ggml_backend_buffer_type_t,
) -> sys::ggml_backend_buffer_t {
    // SAFETY: the buffer is as large as its kind says the tensor is; the base of a buffer is aligned for tensors.
    unsafe {
        let buffer =
            sys::ggml_backend_buft_alloc_buffer(kind, sys::ggml_backend_buft_get_alloc_size(kind, tensor));
        assert!(!buffer.is_null(), "ggml has no memory for a tensor");
        let status =
            sys::ggml_backend_tensor_alloc(buffer, tensor, sys::ggml_backend_buffer_get_base(buffer));
        assert_eq!(status, sys::GGML_STATUS_SUCCESS);
        buffer
    }
}

impl MatMul {
    fn compute(&mut self) {
        let graph = self.graphs[self.next % self.graphs.len()];
        self.next += 1;
        // SAFETY: a graph of live tensors that lie in this backend's memory.
        let status = unsafe { sys::ggml_backend_graph_compute(self.backend, graph) };
        assert_eq!(status, sys::GGML_STATUS_SUCCESS);
    }
}

/// Lends ggml's objects to another thread.
struct Lent<'a>(&'a mut MatMul);

// SAFETY: ggml's objects belong to no thread; whoever lends them waits until he has them back.
unsafe impl Send for Lent<'_> {}

impl Contender for Lent<'_> {
    fn call(&mut self) {
        self.0.compute();
    }
}

/// On threads of its own: ggml shapes AMX's tile registers once for a thread and takes them to remain so, and candle does,
/// too, in other shapes.
impl Contender for MatMul {
    fn call(&mut self) {
        self.time(1);
    }

    fn time(&mut self, calls: usize) -> f64 {
        let mut lent = Lent(self);
        thread::scope(|scope| scope.spawn(move || lent.time(calls)).join()).expect("ggml computes")
    }

    fn rest(&mut self) {
        // SAFETY: a live pool; the next call wakes it.
        unsafe { sys::ggml_threadpool_pause(self.threads) }
    }
}

impl Peer for MatMul {
    fn name(&self) -> &'static str {
        "ggml"
    }

    fn kernel(&self) -> String {
        self.kernel.clone()
    }

    fn result(&self) -> Vec<f32> {
        let mut y = vec![0.0; self.outputs];
        // SAFETY: Y is m rows of n numbers, as many as the vector has.
        unsafe { sys::ggml_backend_tensor_get(self.y, y.as_mut_ptr().cast(), 0, size_of_val(&y[..])) }
        y
    }

    fn rounded_together(&self) -> usize {
        self.rounded_together
    }
}

impl Drop for MatMul {
    fn drop(&mut self) {
        // SAFETY: each was made by `new`, and is freed once; the context goes after them.
        unsafe {
            sys::ggml_backend_free(self.backend);
            sys::ggml_threadpool_free(self.threads);
            for buffer in &self.buffers {
                sys::ggml_backend_buffer_free(*buffer);
            }
        }
    }
}
