# Slots and trampolines, System V x86-64, AT&T syntax. See trampolines.rs.
#
# The convention between a trampoline and the resolver: r11 (scratch, never an argument) holds the slot's index.

    .pushsection .data.warpdot_cuda, "aw", @progbits
    .p2align 3
    .globl warpdot_cuda_slots
    .hidden warpdot_cuda_slots
    .type warpdot_cuda_slots, @object
warpdot_cuda_slots:
    .rept {count}
    .quad warpdot_cuda_resolve
    .endr
    .size warpdot_cuda_slots, . - warpdot_cuda_slots
    .popsection

    .pushsection .text.warpdot_cuda, "ax", @progbits

# Saves every register that can carry an argument, asks Rust for the function, and jumps to it with the stack as
# the caller left it, so that arguments passed there are found too.
    .type warpdot_cuda_resolve, @function
warpdot_cuda_resolve:
    .cfi_startproc
    pushq %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset %rbp, -16
    movq %rsp, %rbp
    .cfi_def_cfa_register %rbp
    subq $176, %rsp
    movq %rdi, 0(%rsp)
    movq %rsi, 8(%rsp)
    movq %rdx, 16(%rsp)
    movq %rcx, 24(%rsp)
    movq %r8, 32(%rsp)
    movq %r9, 40(%rsp)
    movaps %xmm0, 48(%rsp)
    movaps %xmm1, 64(%rsp)
    movaps %xmm2, 80(%rsp)
    movaps %xmm3, 96(%rsp)
    movaps %xmm4, 112(%rsp)
    movaps %xmm5, 128(%rsp)
    movaps %xmm6, 144(%rsp)
    movaps %xmm7, 160(%rsp)
    movl %r11d, %edi
    callq {resolve}
    movq %rax, %r11
    movq 0(%rsp), %rdi
    movq 8(%rsp), %rsi
    movq 16(%rsp), %rdx
    movq 24(%rsp), %rcx
    movq 32(%rsp), %r8
    movq 40(%rsp), %r9
    movaps 48(%rsp), %xmm0
    movaps 64(%rsp), %xmm1
    movaps 80(%rsp), %xmm2
    movaps 96(%rsp), %xmm3
    movaps 112(%rsp), %xmm4
    movaps 128(%rsp), %xmm5
    movaps 144(%rsp), %xmm6
    movaps 160(%rsp), %xmm7
    movq %rbp, %rsp
    popq %rbp
    .cfi_def_cfa %rsp, 8
    jmpq *%r11
    .cfi_endproc
    .size warpdot_cuda_resolve, . - warpdot_cuda_resolve

    .set warpdot_cuda_index, 0
    .macro warpdot_cuda_trampoline name
    .globl \name
    .hidden \name
    .type \name, @function
\name:
    .cfi_startproc
    movl $warpdot_cuda_index, %r11d
    jmpq *(warpdot_cuda_slots + 8 * warpdot_cuda_index)(%rip)
    .cfi_endproc
    .size \name, . - \name
    .set warpdot_cuda_index, warpdot_cuda_index + 1
    .endm
