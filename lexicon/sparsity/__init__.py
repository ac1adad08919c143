"""Sparsity: computing only what is there, and choosing what should be."""

ENTRIES = [
    "sparsity",
    "mask",
    "sparse_matrix",
    "sampled_gradient",
    "csr_layer",
    "sparse_storage",
    "magnitude_prune",
    "k_wta",
    "erdos_renyi",
    "sparse_initialization",
    "constant_fan_in",
    "sparse_from_scratch",
    "sparse_vs_dense",
    "million_neurons",
    "rewiring",
]
