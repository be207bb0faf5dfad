//! The facade keeps the signatures of Rust-CUDA's device library, for the names that they share.

use warpdot_kernels::gpu::{thread, warp};

#[test]
fn names_and_signatures_are_those_of_cuda_std() {
    // An array has one type: the build fails where the signatures differ.
    let _: [[fn() -> u32; 2]; 5] = [
        [thread::thread_idx_x, cuda_std::thread::thread_idx_x],
        [thread::block_idx_x, cuda_std::thread::block_idx_x],
        [thread::block_idx_y, cuda_std::thread::block_idx_y],
        [thread::block_dim_x, cuda_std::thread::block_dim_x],
        [warp::lane_id, cuda_std::warp::lane_id],
    ];
    let _: [fn(); 2] = [thread::sync_threads, cuda_std::thread::sync_threads];
}
