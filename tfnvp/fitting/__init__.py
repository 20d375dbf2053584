"""Training of flows by maximum likelihood with Keras `fit`."""
