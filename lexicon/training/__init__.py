"""Training: how the weights find their values."""

ENTRIES = [
    "gradient_descent",
    "stochastic_gradient_descent",
    "momentum",
    "adam",
    "weight_initialization",
    "training_loop",
    "learning_rate_schedule",
    "learning_rate_finder",
    "input_scaling",
    "batch_norm",
    "layer_norm",
    "vanishing_gradients",
    "gradient_clipping",
    "early_stopping",
    "weight_averaging",
    "mixed_precision",
    "sharp_and_flat_minima",
    "hyperparameter_search",
]
