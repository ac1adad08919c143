"""Foundations: what one neuron, one layer and one gradient compute."""

ENTRIES = [
    "neuron",
    "weights_and_bias",
    "activation",
    "linear_layer",
    "chain_rule",
    "forward_pass",
    "softmax",
    "regression_loss",
    "cross_entropy",
    "backpropagation",
    "gradient_check",
    "computational_graph",
    "embedding",
    "parameter_count",
    "universal_approximation",
]
