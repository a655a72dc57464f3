"""Triton kernels, each with its gradient; `availability` tells where they can run. Importing this is free.

The other modules import triton, so they are imported when a kernel is first wanted. All kernels: 64-bit
offsets, float32 arithmetic, one cast at the end. Their truth is `ea_kernels.reference`.
"""
