// Slots and trampolines, AAPCS64. See trampolines.rs.
//
// The convention between a trampoline and the resolver: x17 (scratch, never an argument) holds the slot's index.

    .pushsection .data.warpdot_cuda, "aw", @progbits
    .p2align 3
    .globl warpdot_cuda_slots
    .hidden warpdot_cuda_slots
    .type warpdot_cuda_slots, @object
warpdot_cuda_slots:
    .rept {count}
    .xword warpdot_cuda_resolve
    .endr
    .size warpdot_cuda_slots, . - warpdot_cuda_slots
    .popsection

    .pushsection .text.warpdot_cuda, "ax", @progbits
    .p2align 2

// Saves every register that can carry an argument, asks Rust for the function, and jumps to it with the stack as
// the caller left it, so that arguments passed there are found too.
    .type warpdot_cuda_resolve, @function
warpdot_cuda_resolve:
    .cfi_startproc
    stp x29, x30, [sp, #-224]!
    .cfi_def_cfa_offset 224
    .cfi_offset x29, -224
    .cfi_offset x30, -216
    mov x29, sp
    stp x0, x1, [sp, #16]
    stp x2, x3, [sp, #32]
    stp x4, x5, [sp, #48]
    stp x6, x7, [sp, #64]
    str x8, [sp, #80]
    stp q0, q1, [sp, #96]
    stp q2, q3, [sp, #128]
    stp q4, q5, [sp, #160]
    stp q6, q7, [sp, #192]
    mov x0, x17
    bl {resolve}
    mov x16, x0
    ldp x0, x1, [sp, #16]
    ldp x2, x3, [sp, #32]
    ldp x4, x5, [sp, #48]
    ldp x6, x7, [sp, #64]
    ldr x8, [sp, #80]
    ldp q0, q1, [sp, #96]
    ldp q2, q3, [sp, #128]
    ldp q4, q5, [sp, #160]
    ldp q6, q7, [sp, #192]
    ldp x29, x30, [sp], #224
    .cfi_def_cfa_offset 0
    .cfi_restore x29
    .cfi_restore x30
    br x16
    .cfi_endproc
    .size warpdot_cuda_resolve, . - warpdot_cuda_resolve

    .set warpdot_cuda_index, 0
    .macro warpdot_cuda_trampoline name
    .globl \name
    .hidden \name
    .type \name, @function
\name:
    .cfi_startproc
    movz x17, #warpdot_cuda_index
    adrp x16, warpdot_cuda_slots + 8 * warpdot_cuda_index
    ldr x16, [x16, :lo12:warpdot_cuda_slots + 8 * warpdot_cuda_index]
    br x16
    .cfi_endproc
    .size \name, . - \name
    .set warpdot_cuda_index, warpdot_cuda_index + 1
    .endm
