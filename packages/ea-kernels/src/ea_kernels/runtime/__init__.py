"""Loading and saving of weights, devices and number types, recomputation of activations."""
